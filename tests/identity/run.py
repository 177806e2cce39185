"""One run of a scenario: real processes, one fault, and the sums at the end.

Each run ends on `accepted = lines + everything counted elsewhere`. What a process takes with it
when it is killed nobody can count; there the sum is a range, and the difference is how far the
lines are outside of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Self

from batchudp_handler.testing.faultproxy import FaultProxy, Faults
from batchudp_handler.testing.faultproxy import Scenario as Weather
from tests.faults.support import Sender, clean_environment, id_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.faults.support import Id, Stats
    from tests.identity.scenario import Scenario

PATIENCE = 60.0
FAULT_MS = 700
MOST_TORN = 2
"""Lines in which the workers of a killed receiver may have been."""
BAD = Faults(loss=0.15, reorder=0.2, reorder_delay=0.005, duplicate=0.1, delay=0.0003)
PROGRAM = """
import logging, signal, sys
from batchudp_handler import BatchUDPReceiver
from batchudp_handler.cli.common import stats_json
handler = logging.FileHandler(sys.argv[2])
handler.setFormatter(logging.Formatter("%(message)s"))
logging.getLogger("run").addHandler(handler)
logging.getLogger("run").setLevel(1)
receiver = BatchUDPReceiver("127.0.0.1", int(sys.argv[1]), logger_prefix="run.")
signal.signal(signal.SIGTERM, lambda *_: receiver.shutdown())
with open(sys.argv[3] + ".new", "w") as ready:
    ready.write("127.0.0.1:%d" % receiver.address[1])
import os; os.rename(sys.argv[3] + ".new", sys.argv[3])
receiver.serve_forever()
receiver.close()
print(stats_json(receiver.stats()), file=sys.stderr)
"""


@dataclass
class Row:
    """What came of a run."""

    scenario: Scenario
    accepted: int = 0
    confirmed: int = 0
    lines: int = 0
    copies: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    difference: int = 0
    problems: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """As a row of a table."""
        counted = ", ".join(f"{name} {number}" for name, number in self.counted.items() if number)
        numbers = (self.accepted, self.confirmed, self.lines)
        seed = str(self.scenario.seed)
        return (seed, str(self.scenario), *map(str, numbers), counted, str(self.difference))


class Outlet:
    """A receiver with its output, in as many lives as it needs on one port."""

    def __init__(self, folder: Path, scenario: Scenario, environ: Mapping[str, str]) -> None:
        self.port = 0
        self.lives = 0
        self.ended: list[Stats] = []
        self.has_died = False
        self._torn = 0
        self.may_read = threading.Event()
        self._folder = folder
        self._scenario = scenario
        self._environ = {**clean_environment(), **environ}
        self._readers: list[threading.Thread] = []
        self.may_read.set()
        self.start()

    @property
    def log(self) -> Path:
        """The file that the output has by name."""
        return self._folder / "output" / "all.log"

    def start(self) -> None:
        """Begin a life, and wait until it listens."""
        self.lives += 1
        self.log.parent.mkdir(exist_ok=True)
        ready, err = self._folder / f"ready-{self.lives}", self._folder / f"err-{self.lives}"
        with open(err, "wb") as stderr:
            self.process = subprocess.Popen(
                self._command(ready),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._environ,
            )
        reader = threading.Thread(target=self._read, args=(self.process, self.lives))
        reader.start()
        self._readers.append(reader)
        wait_until(lambda: ready.exists() or self.process.poll() is not None, PATIENCE)
        assert self.process.poll() is None, err.read_text()
        self.port = int(ready.read_text().strip().rpartition(":")[2])

    def _command(self, ready: Path) -> list[str]:
        if self._scenario.outlet == "program":
            return [sys.executable, "-c", PROGRAM, str(self.port), str(self.log), str(ready)]
        command = [
            *(sys.executable, "-m", "batchudp_handler", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--ready-file", str(ready), "--summary", "json"),
            *("--pattern", "%(message)s", "--control-socket", "off"),
        ]
        if self._scenario.outlet == "workers":
            command += ["--workers", "2"]
        if self._scenario.outlet != "stdout":
            command += ["--output", str(self.log)]
        return command

    def _read(self, process: subprocess.Popen[bytes], life: int) -> None:
        assert process.stdout is not None
        with process.stdout as pipe, open(self._folder / f"stdout-{life}", "wb") as file:
            while self.may_read.wait() and (data := os.read(pipe.fileno(), 4_096)):
                file.write(data)

    def kill(self) -> None:
        """The end that nobody hears of."""
        self.has_died = True
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Have it finish what it has; its counters."""
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.stderr
        self.ended.append(json.loads(self.stderr.splitlines()[-1]))

    @property
    def stderr(self) -> str:
        """What the present life has said."""
        return (self._folder / f"err-{self.lives}").read_text("utf-8")

    def written(self) -> Counter[Id]:
        """The records in all files, each with the number of times that it is there."""
        for reader in self._readers:
            reader.join(PATIENCE)
        found: Counter[Id] = Counter()
        files = [*self.log.parent.iterdir(), *self._folder.glob("stdout-*")]
        for file in files:
            *lines, last = file.read_text("utf-8").split("\n")
            assert not last or self.has_died, f"{file} ends in the middle of a line"
            found.update(filter(None, map(self._id_of, lines)))
        assert self._torn <= MOST_TORN, f"{self._torn} lines are torn"
        return found

    def _id_of(self, line: str) -> Id | None:
        """Which record this is; None for the line in which a receiver was killed."""
        try:
            return id_of(line)
        except (AssertionError, ValueError):
            if not self.has_died:
                raise
            self._torn += 1
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.may_read.set()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)


class Run:
    """One scenario, while it runs."""

    def __init__(self, scenario: Scenario, folder: Path, preload: str) -> None:
        self.scenario = scenario
        self.random = Random(f"run {scenario.seed}")
        self._folder = folder
        self._preload = preload
        self._lost: dict[str, Stats] = {}
        self._stack = contextlib.ExitStack()

    def __call__(self) -> Row:
        """Run it to its end, and add up."""
        with self._stack:
            self.outlet = self._stack.enter_context(
                Outlet(self._folder, self.scenario, self._faults_of("receiver"))
            )
            (self._folder / "armed").touch()
            address = self._address()
            senders = [self._sender(address, number) for number in range(self.scenario.senders)]
            self._meddle(senders)
            ended = [stats for each in senders for stats in self._end(each)]
            self.outlet.end()
            written = self.outlet.written()
        return self._sum(ended, written)

    def _address(self) -> tuple[str, int]:
        address = ("127.0.0.1", self.outlet.port)
        if self.scenario.fault != "network":
            return address
        weather = Weather.steady(BAD, BAD, seed=self.scenario.seed)
        proxy = self._stack.enter_context(FaultProxy(address, weather))
        host, port = proxy.address
        return str(host), int(port)

    def _faults_of(self, side: str) -> dict[str, str]:
        """What is preloaded into the processes of one side."""
        scenario, fault = self.scenario, self.scenario.fault
        found = {"LD_PRELOAD": self._preload, "FAULT_SEED": str(scenario.seed)}
        calls = {"write error": "write", "moved file, open error": "open"}
        if side == "receiver" and fault in calls:
            found |= {
                "FAULT_CALL": calls[fault],
                "FAULT_PATH": "pipe:" if scenario.outlet == "stdout" else "/output/",
                "FAULT_PERMILLE": "500",
                "FAULT_SHORT": "300",
            }
        elif side == "sender" and fault == "send error":
            found |= {"FAULT_CALL": "send", "FAULT_PATH": "", "FAULT_PERMILLE": "300"}
        elif fault == f"clock of the {side}":
            return {**found, "CLOCK_STEP": str(scenario.clock_step), "CLOCK_MS": "1000"}
        else:
            return {}
        return {
            **found,
            "FAULT_ERRNOS": ",".join(map(str, scenario.errnos)),
            "FAULT_MS": str(FAULT_MS),
            "FAULT_ARMED": str(self._folder / "armed"),
        }

    def _sender(self, address: tuple[str, int], number: int) -> Sender:
        scenario = self.scenario
        settings: dict[str, Any] = {
            "delivery": scenario.delivery,
            "overflow": "drop_oldest" if scenario.fault == "full queue" else "block",
            "batch_size": 20,
            "flush_interval": 0.1,
            "shutdown_timeout": 20.0,
        }
        if scenario.fault == "full queue":
            settings["capacity"] = 50
        if scenario.has_spool:
            settings["spool_directory"] = str(self._folder / f"spool-{number}")
        if scenario.fault == "sender ended":
            settings["drain_on_sigterm"] = True
        return self._stack.enter_context(
            Sender(
                self._folder,
                address,
                environ=self._faults_of("sender"),
                runs=[f"s{scenario.seed}n{number}"],
                count=scenario.records,
                rate=scenario.rate,
                size=100,
                is_told_to_end=True,
                flush_timeout=30.0,
                settings=settings,
            )
        )

    # --- faults --------------------------------------------------------------------------------

    def _meddle(self, senders: list[Sender]) -> None:
        """Let the fault happen somewhere in the middle."""
        for sender in senders:
            wait_until(lambda sender=sender: sender.latest or sender.process.poll(), PATIENCE)  # type: ignore[misc]  # bound now
        meddler = {
            "moved file": self._move,
            "moved file, open error": self._move,
            "removed file": self._remove_empty,
            "stalled reader": self._stall,
            "receiver killed": self._restart,
            "receiver ended": self._restart,
            "sender killed": self._kill,
            "sender ended": self._kill,
        }.get(self.scenario.fault)
        if meddler is not None:
            time.sleep(self.random.uniform(0.0, 0.4))
            meddler(senders)

    def _move(self, _: list[Sender]) -> None:
        for number in range(self.random.randrange(1, 4)):
            with contextlib.suppress(FileNotFoundError):
                self.outlet.log.rename(self.outlet.log.with_name(f"moved-{number}.log"))
            time.sleep(self.random.uniform(0.0, 0.2))

    def _remove_empty(self, _: list[Sender]) -> None:
        """Remove the name; a second one keeps what is in it."""
        with contextlib.suppress(FileNotFoundError):
            os.link(self.outlet.log, self.outlet.log.with_name("kept.log"))
            self.outlet.log.unlink()

    def _stall(self, _: list[Sender]) -> None:
        self.outlet.may_read.clear()
        time.sleep(self.random.uniform(0.2, 0.8))
        self.outlet.may_read.set()

    def _restart(self, _: list[Sender]) -> None:
        if self.scenario.fault == "receiver killed":
            self.outlet.kill()
        else:
            self.outlet.end()
        time.sleep(self.random.choice([0.0, 0.3]))
        self.outlet.start()

    def _kill(self, senders: list[Sender]) -> None:
        victim = self.random.choice(senders)
        number = signal.SIGKILL if self.scenario.fault == "sender killed" else signal.SIGTERM
        victim.process.send_signal(number)
        victim.process.wait(PATIENCE)

    def _end(self, sender: Sender) -> list[Stats]:
        if sender.process.poll() is not None:  # it was ended: only what it said before is known
            sender.join()
            self._lost[sender.plan.runs[0]] = sender.latest
            return []
        return sender.end(PATIENCE).stats

    # --- sums ----------------------------------------------------------------------------------

    def _sum(self, ended: list[Stats], written: Counter[Id]) -> Row:
        row = Row(self.scenario, lines=len(written))
        row.copies = sum(written.values()) - len(written)
        row.accepted = sum(stats["accepted"] for stats in ended)
        row.confirmed = sum(stats["confirmed"] for stats in [*ended, *self._lost.values()])
        for stats in ended:
            row.counted.update({f"dropped {name}": n for name, n in stats["dropped"].items()})
            for name in ("unconfirmed", "spooled", "waiting", "retained"):
                row.counted[name] += stats[name]
            row.counted["rejected"] += stats["rejected_by_receiver"]
        for run, stats in self._lost.items():
            self._count_lost_sender(row, stats, sum(each == run for each, _ in written))
        if self.scenario.delivery == "one_way":
            self._count_at_receiver(row)
        self._check(row, ended)
        return row

    def _count_lost_sender(self, row: Row, stats: Stats, lines: int) -> None:
        """Of a process that was ended only what it said before is known, and what arrived."""
        accepted = max(stats.get("accepted", 0), lines)
        row.accepted += accepted
        row.counted["gone with their sender"] += accepted - lines
        if self.scenario.fault == "sender ended" and accepted > lines:
            row.problems.append(f"{accepted} accepted before SIGTERM, {lines} written")

    def _count_at_receiver(self, row: Row) -> None:
        """What a one-way receiver knows; the next one knows nothing of what came between them."""
        if self.outlet.lives > 1:
            row.counted["gone between receivers"] += max(row.accepted - row.lines - _sum(row), 0)
            return
        for stats in self.outlet.ended:
            for name in ("lost", "missing", "unseen_before_start", "abandoned"):
                if not self._lost:
                    row.counted[name] += stats[name]
            row.counted["rejected"] += sum(stats["rejected"].values())
            streams = stats["streams"].values()
            if any(each["tail_unknown"] for each in streams) or len(streams) < self._senders_left:
                # the network lost the goodbye as well, and the receiver says so
                unknown = max(row.accepted - row.lines - _sum(row), 0)
                row.counted["known to be unknown"] += unknown

    @property
    def _senders_left(self) -> int:
        return self.scenario.senders - len(self._lost)

    def _check(self, row: Row, ended: list[Stats]) -> None:
        """Set the difference, and note what else is not as it was told."""
        missing, elsewhere = row.accepted - row.lines, _sum(row)
        uncertain = row.counted["unconfirmed"] + row.counted["spooled"]
        row.difference = min(missing - (elsewhere - uncertain), 0) or max(missing - elsewhere, 0)
        if row.difference:
            row.problems.append(f"{missing} not written, {elsewhere} accounted for")
        left = row.counted["waiting"] + row.counted["retained"]
        if left:
            row.problems.append(f"{left} records have no end after the close")
        if row.confirmed > row.lines:
            row.problems.append(f"confirmed {row.confirmed}, written {row.lines}")
        allowed = sum(stats["resent_to_new_receiver"] for stats in ended)
        if row.copies > (allowed if self.outlet.lives > 1 else 0) and not self._lost:
            row.problems.append(f"{row.copies} copies, {allowed} allowed")
        delivered = sum(stats["delivered"] for stats in self.outlet.ended)
        if not self.outlet.has_died and delivered != row.lines + row.copies:
            row.problems.append(f"delivered {delivered}, written {row.lines + row.copies}")


def _sum(row: Row) -> int:
    return sum(row.counted.values())
