"""Senders and two receivers as processes behind a real nginx that balances datagrams.

nginx keeps a session for each source address and port, and gives a session to one receiver.
`hash ... consistent` chooses by the address and port; the default goes round; with
`proxy_requests 1` every datagram is a session of its own, so that one sender talks to both
receivers at once. Here all senders have one address, so the hash needs the port, too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batchudp_handler.config import Delivery
    from batchudp_handler.core.send.stats import SenderStats
    from tests.table import Table

DEADLINE = 90.0
SENDERS = 8
RECORDS = 1_000
"""By each sender."""
BY_PORT = "hash $remote_addr:$remote_port consistent;"
IN_TURN = ""
EACH_DATAGRAM = "proxy_requests 1;"
_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
MODULE = next(
    (f"load_module {p};" for f in _MODULES if (p := Path(f, "ngx_stream_module.so")).exists()), ""
)
"""Debian has it in a package of its own; elsewhere it may be built in."""

CONFIGURATION = """
{module}
daemon off;
error_log stderr warn;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 4096; }}
stream {{
    upstream receivers {{
        {choice}
        server 127.0.0.1:{ports[0]};
        server 127.0.0.1:{ports[1]};
    }}
    server {{
        listen 127.0.0.1:{port} udp rcvbuf=4m;
        proxy_pass receivers;
        proxy_timeout 5s;
        {each}
    }}
}}
"""


class Receiver:
    """A `batchudp-receive` process that writes to a file."""

    def __init__(self, folder: Path, name: str, cleanup: contextlib.ExitStack) -> None:
        self.output = folder / f"{name}.txt"
        self._errors = folder / f"{name}.err"
        ready = folder / f"{name}.ready"
        command = [sys.executable, "-m", "batchudp_handler.cli.receive", "--host", "127.0.0.1"]
        command += ["--port", "0", "--ready-file", str(ready), "--summary", "json"]
        command += ["--output", str(self.output), "--pattern", "%(message)s"]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stderr=errors)
        cleanup.callback(end_process, self.process)
        wait_until(ready.exists, "the receiver to start")
        self.port = int(ready.read_text().rpartition(":")[2])

    @property
    def lines(self) -> Counter[str]:
        """What is written."""
        return Counter(self.output.read_text().splitlines() if self.output.exists() else ())

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def end(self) -> dict[str, int]:
        """Ask it to end; its counters."""
        end_process(self.process)
        return dict(json.loads(self._errors.read_text().strip().splitlines()[-1]))


class Site:
    """An nginx before two receivers."""

    def __init__(self, folder: Path, nginx: str, choice: str, each: str) -> None:
        self._cleanup = contextlib.ExitStack()
        self._errors = folder / "nginx.err"
        self.receivers: list[Receiver] = []
        self.port = _free_port()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.end)
            for name in ("a", "b"):
                self.receivers.append(Receiver(folder, name, self._cleanup))
            ports = [receiver.port for receiver in self.receivers]
            text = CONFIGURATION.format(
                module=MODULE, folder=folder, choice=choice, each=each, port=self.port, ports=ports
            )
            (folder / "nginx.conf").write_text(text)
            self._start([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])
            on_failure.pop_all()

    def _start(self, command: list[str]) -> None:
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stderr=errors)
        self._cleanup.callback(end_process, self._process)
        wait_until(self._listens, "nginx to start")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._errors.read_text()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("127.0.0.1", self.port))
            except OSError:
                return True
        return False

    @property
    def written(self) -> Counter[str]:
        """By both receivers."""
        return sum((receiver.lines for receiver in self.receivers), Counter[str]())

    def end(self) -> None:
        """Nothing stays behind."""
        self._cleanup.close()


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and wait until it has."""
    process.terminate()
    process.wait(DEADLINE)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def site(
    request: pytest.FixtureRequest, tmp_path: Path, require: Callable[[str], str]
) -> Iterator[Site]:
    """Two receivers behind nginx, with the parameter's way to choose."""
    nginx = require("nginx")
    if not MODULE and "--with-stream " not in _build_of(nginx):
        if os.environ.get("BATCHUDP_REQUIRE"):
            pytest.fail("nginx has no stream module, and BATCHUDP_REQUIRE forbids to skip")
        pytest.skip("nginx has no stream module")
    choice, each = request.param
    place = Site(tmp_path, nginx, choice, each)
    yield place
    place.end()


def _build_of(nginx: str) -> str:
    done = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False)
    return done.stderr + " "


class Fleet:
    """Senders that log numbered records through the balancer, and what the records say."""

    def __init__(self, port: int, **settings: object) -> None:
        defaults = {"capacity": 2 * RECORDS, "flush_interval": 0.05, "shutdown_timeout": 20.0}
        self.handlers = [
            BatchUDPHandler("127.0.0.1", port, **{**defaults, **settings})  # type: ignore[arg-type]
            for _ in range(SENDERS)
        ]
        self.expected: Counter[str] = Counter()

    def log(self, numbers: Sequence[int]) -> None:
        """Each sender logs these, a little at a time."""
        log = logging.getLogger("fleet")
        for number in numbers:
            for sender, handler in enumerate(self.handlers):
                args = (sender, number)
                handler.handle(log.makeRecord("fleet", 20, "f", 1, "%d %d", args, None))
                self.expected[f"{sender} {number}"] += 1
            if number % 20 == 0:
                time.sleep(0.01)

    def close(self) -> list[SenderStats]:
        """Close all; their counters."""
        for handler in self.handlers:
            handler.close()
        return [handler.stats() for handler in self.handlers]


class Echo:
    """A balancer whose receiver has died: it passes on and answers each datagram with nothing."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self._near.settimeout(0.05)
        self._far.connect(target)
        self._far.setblocking(False)
        self.port: int = self._near.getsockname()[1]
        self.empty = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        sender = None
        while not self._ends.is_set():
            with contextlib.suppress(TimeoutError):
                data, sender = self._near.recvfrom(65_536)
                self._near.sendto(b"", sender)
                self.empty += 1
                self._far.send(data)
            with contextlib.suppress(BlockingIOError):
                while sender is not None:
                    self._near.sendto(self._far.recv(65_536), sender)

    def close(self) -> None:
        """Stop and let go of the ports."""
        self._ends.set()
        self._thread.join(DEADLINE)
        self._near.close()
        self._far.close()


def case_of(request: pytest.FixtureRequest, delivery: str = "") -> str:
    """The line of the table: who chooses the receiver, how, and whether one is killed."""
    fate = "none killed" if "repeats_nothing" in request.node.name else "one killed"
    if "spoils" in request.node.name:
        fate = "none killed"
    names = [delivery, *request.node.callspec.id.split("-")]
    return f"nginx: {', '.join(filter(None, names))}, {fate}"


SESSIONS = [pytest.param((BY_PORT, ""), id="hash"), pytest.param((IN_TURN, ""), id="in_turn")]
SPREAD = [pytest.param((IN_TURN, EACH_DATAGRAM), id="each_datagram")]
DELIVERIES = ["one_way", "acknowledged"]
ALL = SENDERS * RECORDS


@pytest.mark.parametrize("site", SESSIONS, indirect=True)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_balancer_loses_and_repeats_nothing(
    site: Site, delivery: Delivery, table: Table, request: pytest.FixtureRequest
) -> None:
    """Through nginx every record of every sender is written once, and each stream is whole."""
    began = time.monotonic()
    fleet = Fleet(site.port, delivery=delivery)
    fleet.log(range(RECORDS))
    fleet.close()

    wait_until(lambda: site.written.total() >= ALL, "everything to be written")
    table.add(case_of(request), fleet.expected, site.written.elements(), began)
    assert site.written == fleet.expected
    counters = [receiver.end() for receiver in site.receivers]
    assert sum(each["delivered"] for each in counters) == ALL
    assert sum(each["lost"] + each["missing"] for each in counters) == 0


@pytest.mark.parametrize("site", SESSIONS, indirect=True)
def test_acknowledged_records_outlive_a_receiver(
    site: Site, table: Table, request: pytest.FixtureRequest
) -> None:
    """A receiver is killed: nothing is lost, and no more is written twice than the senders say."""
    began = time.monotonic()
    fleet = Fleet(site.port, delivery="acknowledged")
    fleet.log(range(RECORDS // 3))
    site.receivers[0].kill()
    fleet.log(range(RECORDS // 3, RECORDS))
    assert all(handler.flush(DEADLINE) for handler in fleet.handlers)
    stats = fleet.close()

    assert [each.confirmed for each in stats] == [RECORDS] * SENDERS
    written = site.written
    table.add(case_of(request, "acknowledged"), fleet.expected, written.elements(), began)
    assert fleet.expected - written == Counter()
    copies = written - fleet.expected
    assert copies.total() <= sum(each.resent_to_new_receiver for each in stats)


@pytest.mark.parametrize("site", SESSIONS, indirect=True)
def test_what_one_way_loses_with_a_receiver_is_known(
    site: Site, table: Table, request: pytest.FixtureRequest
) -> None:
    """A receiver is killed: the other one says how many records it did not see; none is twice."""
    began = time.monotonic()
    fleet = Fleet(site.port, delivery="one_way")
    fleet.log(range(RECORDS // 3))
    site.receivers[0].kill()
    fleet.log(range(RECORDS // 3, RECORDS))
    stats = fleet.close()

    assert [each.sent for each in stats] == [RECORDS] * SENDERS
    dead, alive = site.receivers
    before = dead.lines.total()
    counters = alive.end()
    table.add(case_of(request, "one_way"), fleet.expected, site.written.elements(), began)
    unseen = counters["unseen_before_start"] + counters["lost"] + counters["missing"]
    assert counters["delivered"] + unseen == ALL
    assert (fleet.expected - site.written).total() == unseen - before
    assert site.written - fleet.expected == Counter()


@pytest.mark.parametrize("site", SPREAD, indirect=True)
def test_spreading_datagrams_spoils_the_count_of_losses(
    site: Site, table: Table, request: pytest.FixtureRequest
) -> None:
    """One-way datagrams that are spread one by one arrive; each receiver misses the others'."""
    began = time.monotonic()
    fleet = Fleet(site.port, delivery="one_way")
    fleet.log(range(RECORDS))
    fleet.close()

    wait_until(lambda: site.written.total() >= ALL, "everything to be written")
    table.add(case_of(request, "one_way"), fleet.expected, site.written.elements(), began)
    assert site.written == fleet.expected
    counters = [receiver.end() for receiver in site.receivers]
    unseen = ("lost", "missing", "unseen_before_start")
    assert sum(each[name] for each in counters for name in unseen) > ALL // 2


@pytest.mark.parametrize("site", SPREAD, indirect=True)
def test_spread_datagrams_go_on_going_to_the_dead(
    site: Site, table: Table, request: pytest.FixtureRequest
) -> None:
    """A receiver is killed: records of every sender are lost, and none is written twice."""
    began = time.monotonic()
    fleet = Fleet(site.port, delivery="one_way")
    fleet.log(range(RECORDS // 3))
    site.receivers[0].kill()
    fleet.log(range(RECORDS // 3, RECORDS))
    stats = fleet.close()

    assert [each.sent for each in stats] == [RECORDS] * SENDERS
    site.receivers[1].end()
    table.add(case_of(request, "one_way"), fleet.expected, site.written.elements(), began)
    lost = fleet.expected - site.written
    assert {line.partition(" ")[0] for line in lost} == set(map(str, range(SENDERS)))
    assert site.written - fleet.expected == Counter()


@pytest.mark.parametrize("site", SPREAD, indirect=True)
def test_acknowledged_delivery_refuses_spread_datagrams(site: Site) -> None:
    """No address proves itself when each datagram has another: nothing is confirmed by mistake."""
    handler = BatchUDPHandler(
        "127.0.0.1", site.port, delivery="acknowledged", shutdown_timeout=0.1
    )
    handler.handle(logging.makeLogRecord({"msg": "hello", "levelno": 40}))

    assert not handler.flush(2.0)
    handler.close()
    stats = handler.stats()
    assert (stats.confirmed, stats.accepted) == (0, 1)
    assert stats.unconfirmed + sum(stats.dropped.values()) == 1
    assert site.written == Counter()


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_empty_datagrams_are_ignored(delivery: Delivery) -> None:
    """What nginx sends when a receiver dies, a datagram of no bytes, changes nothing."""
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(BatchUDPReceiver("127.0.0.1", 0))
        echo = Echo(receiver.address[:2])
        stack.callback(echo.close)
        handler = BatchUDPHandler("127.0.0.1", echo.port, delivery=delivery, flush_interval=0.05)
        stack.callback(handler.close)
        for _ in range(10):
            for _ in range(20):
                handler.handle(logging.makeLogRecord({"msg": "hello", "levelno": 20}))
            assert handler.flush(DEADLINE)
        wait_until(lambda: receiver.stats().delivered == 200, "everything to arrive")

    assert echo.empty >= 10
    stats = handler.stats()
    assert stats.sent + stats.confirmed == 200
    assert not stats.dropped
    # datagrams sent again on a busy machine are dropped; no record comes twice
    assert receiver.stats().delivered == 200
