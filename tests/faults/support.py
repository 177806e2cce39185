"""What tests with real processes share: receivers, senders, and the sums at the end."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.faults.program import Plan, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

IS_SOAK = bool(os.environ.get("BATCHUDP_SOAK"))
"""The full sizes, which take many minutes."""
DEADLINE = 300.0 if IS_SOAK else 150.0
"""Far more than anything takes: an idle machine needs seconds, and a burst of losses is random."""

soak_only = pytest.mark.skipif(not IS_SOAK, reason="a long run: BATCHUDP_SOAK=1, tox -e soak")

Id = tuple[str, int]
Stats = dict[str, Any]


def records(default: int, soak: int) -> int:
    """How many records a test moves."""
    return soak if IS_SOAK else default


def wait_until(
    condition: Callable[[], object],
    seconds: float = DEADLINE,
    about: Callable[[], object] = lambda: "",
) -> None:
    """Poll for something that must come; `about` says how far it got."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in time: {about()}"
        time.sleep(0.005)


def clean_environment() -> dict[str, str]:
    """Ours, without settings that somebody may have exported."""
    plain = ("SERVER_HOST", "SERVER_PORT", "BUFFER_SIZE")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BATCHUDP_") and name not in plain
    }


def ids(runs: Iterable[str], count: int, first: int = 0) -> set[Id]:
    """The records that such runs log."""
    return {(run, number) for run in runs for number in range(first, first + count)}


def id_of(message: str) -> Id:
    """Return which record this is. One that is not as it was logged is an error."""
    run, number, digest, text = message.split(" ", 3)
    assert digest == digest_of(text), f"record {run} {number} arrived damaged"
    return run, int(number)


# --- the receiver ------------------------------------------------------------------------------


class Receiver:
    """A `batchudp-receive` process, and the ones that follow it on the same port.

    Each life writes a file of its own: the last line of a killed one may be torn.
    """

    def __init__(self, folder: Path, *arguments: str, port: int = 0) -> None:
        self.port = port
        self._folder = folder
        self._arguments = arguments
        self._lives = 0
        self._killed: set[int] = set()
        self.start()

    def start(self) -> None:
        """Begin another life, and wait until it listens."""
        self._lives += 1
        ready = self._file("ready")
        command = [
            *(sys.executable, "-m", "batchudp_handler", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--ready-file", str(ready), "--summary", "json"),
            *("--output", str(self._file("log")), "--pattern", "%(message)s"),
            *self._arguments,
        ]
        with open(self._file("err"), "wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=err, env=clean_environment()
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self._file("err").read_text()
        self.port = int(ready.read_text().rpartition(":")[2])

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, in each of its lives."""
        return "127.0.0.1", self.port

    def kill(self) -> None:
        """The end that nobody hears of."""
        self._killed.add(self._lives)
        self.process.kill()
        self.process.wait()

    def end(self) -> Stats:
        """Have it finish what it has, and return its counters."""
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0
        stats: Stats = json.loads(self._file("err").read_text().splitlines()[-1])
        check_receiver(stats)
        return stats

    def stop(self) -> None:
        """Let it stand still."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after `stop`."""
        self.process.send_signal(signal.SIGCONT)

    def written(self) -> Counter[Id]:
        """The records in the files of all lives, with the number of times that each is there."""
        found: Counter[Id] = Counter()
        for life in range(1, self._lives + 1):
            *lines, torn = self._file("log", life).read_text("utf-8").split("\n")
            assert not torn or life in self._killed or life == self._lives
            found.update(map(id_of, lines))
        return found

    def wait_for_more(self, count: int = 1) -> None:
        """Until so many more records are written than now."""
        enough = sum(self.written().values()) + count
        wait_until(lambda: sum(self.written().values()) >= enough)

    def resident_bytes(self) -> int:
        """Its memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if "VmRSS" in line)

    def _file(self, kind: str, life: int | None = None) -> Path:
        return self._folder / f"receiver-{life or self._lives}.{kind}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Garbage:
    """Something else that answers on the receiver's port: noise, echoes, echoes with changes."""

    def __init__(self, address: tuple[str, int], seed: int = 0) -> None:
        self.answered = 0
        self._random = Random(seed)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0.05)
        self._is_ending = False
        self._thread = threading.Thread(target=self._answer)

    def _answer(self) -> None:
        while not self._is_ending:
            try:
                data, address = self._socket.recvfrom(65_536)
                self._socket.sendto(self._noise(data), address)
                self.answered += 1
            except OSError:
                continue

    def _noise(self, data: bytes) -> bytes:
        kind = self._random.randrange(3)
        if kind == 0:
            return self._random.randbytes(self._random.randrange(200))
        if kind == 1:
            return data
        changed = bytearray(data)
        changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending = True
        self._thread.join()
        self._socket.close()


class Collector(logging.Handler):
    """Keeps the numbers of the records that reach a receiver in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[Id] = []
        self.before_each: Callable[[Id], None] = lambda _: None

    def emit(self, record: logging.LogRecord) -> None:
        found = id_of(record.getMessage())
        self.ids.append(found)
        self.before_each(found)

    def counts(self) -> Counter[Id]:
        """How often each record came."""
        return Counter(self.ids)


# --- the sender --------------------------------------------------------------------------------


@dataclass
class Ended:
    """What a sending process said last."""

    stats: list[Stats]
    flushed: bool
    seconds: float
    stderr: str

    def total(self, name: str) -> int:
        """The sum of a counter over all handlers."""
        return sum(each[name] for each in self.stats)

    @property
    def transmissions(self) -> float:
        """How often a datagram was sent, on average."""
        sent = self.total("datagrams_sent")
        return sent / max(sent - self.total("retransmissions"), 1)


class Sender:
    """A process that logs what a plan says."""

    def __init__(
        self,
        folder: Path,
        address: tuple[str, int],
        *,
        environ: Mapping[str, str] | None = None,
        **plan: Any,
    ) -> None:
        self.plan = Plan(*address, **plan)
        self._err = folder / f"{'-'.join(self.plan.runs)[:40]}-{id(self)}.err"
        program = Path(__file__).with_name("program.py")
        with open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(program), json.dumps(asdict(self.plan))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                env={**clean_environment(), **(environ or {})},
            )
        self._reports: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self._reports.append(json.loads(line))

    @property
    def latest(self) -> Stats:
        """The last counters that were told, of the first handler."""
        return self._reports[-1]["stats"][0] if self._reports else {}

    def begin_end(self) -> None:
        """Have it flush, and close."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def has_flushed(self) -> bool:
        """Whether `flush` has returned."""
        return any("flushed" in each for each in self._reports)

    def kill(self) -> None:
        """The end that nobody hears of."""
        self.process.kill()
        self.join()

    def join(self) -> None:
        """Wait for a process that ends by itself, and read what it said."""
        self.process.wait()
        self._reader.join()

    def end(self, seconds: float = DEADLINE) -> Ended:
        """Let it come to its end; its counters, which must add up."""
        self.begin_end()
        code = self.process.wait(seconds)
        self._reader.join()
        stderr = self._err.read_text()
        assert code == 0, stderr
        # the thread that reports for ever may have said something after the end
        last = next(each for each in reversed(self._reports) if "seconds" in each)
        for stats in last["stats"]:
            check_sender(stats)
        return Ended(last["stats"], last["flushed"], last["seconds"], stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


# --- the sums ----------------------------------------------------------------------------------

SETTLED = (
    "sent", "confirmed", "rejected_by_receiver", "unconfirmed", "waiting", "retained", "spooled",
)  # fmt: skip


def check_sender(stats: Mapping[str, Any]) -> None:
    """Identity S."""
    settled = sum(stats[name] for name in SETTLED) + sum(stats["dropped"].values())
    assert stats["accepted"] == settled, stats


def check_receiver(stats: Mapping[str, Any]) -> None:
    """Identity R, for each stream."""
    for name, stream in stats["streams"].items():
        known = stream["next_rec"] - stream["first_rec"]
        parts = ("delivered", "lost", "missing", "abandoned", "pending")
        found = sum(stream[part] for part in parts) + sum(stream["rejected"].values())
        assert known == found, f"stream {name}: {stream}"


def check_exactly_once(
    ended: Ended, receiver: Mapping[str, Any], written: Counter[Id], logged: set[Id]
) -> None:
    """Identity X: one life of the receiver; all that was logged is there, and no copies."""
    assert ended.flushed
    assert ended.total("confirmed") == receiver["delivered"] == len(logged)
    assert receiver["lost"] == receiver["missing"] == 0
    assert not receiver["rejected"]
    assert set(written) == logged
    assert copies(written) == 0


def check_at_least_once(ended: Ended, written: Counter[Id], logged: set[Id]) -> None:
    """Identity X': several lives; nothing is missing, and the extra copies are bounded."""
    assert ended.flushed
    assert ended.total("confirmed") == len(logged)
    assert set(written) == logged
    assert copies(written) <= ended.total("resent_to_new_receiver")


def copies(written: Counter[Id]) -> int:
    """How many records are there beyond the first of each."""
    return sum(written.values()) - len(written)


# --- the table ---------------------------------------------------------------------------------


@dataclass
class Table:
    """One row for each run, shown at the end of the session."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, name: str, ended: Ended, written: Counter[Id], logged: set[Id]) -> None:
        """Note what came of a run."""
        self.rows.append(
            (
                name,
                str(len(logged)),
                str(len(logged - set(written))),
                str(copies(written)),
                str(ended.total("resent_to_new_receiver")),
                f"{ended.seconds:.2f}",
                f"{ended.transmissions:.3f}",
            )
        )


TABLE = Table()
HEADINGS = ("fault", "records", "lost", "copies", "allowed", "seconds", "sent per datagram")
