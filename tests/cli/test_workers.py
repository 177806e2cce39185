"""`batchudp-receive --workers`: several processes that a user meets as one receiver."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.receive.stats import ReceiverStats, StreamStats
from batchudp_handler.receiver.totals import total
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets share a port on Linux")

SECONDS = 90.0
"""For a machine that does something else as well."""
PATTERN = "%(message)s pid=%(process)d"


class Running:
    """A receiver of several processes, with its output in files."""

    def __init__(self, directory: pathlib.Path, *arguments: str) -> None:
        self.directory = directory
        ready = directory / "ready"
        where = ("--host", "127.0.0.1", "--port", "0", "--ready-file", str(ready))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BATCHUDP_")}
        with open(directory / "stdout", "wb") as out, open(directory / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "batchudp_handler", *where, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.stderr
        host, _, port = ready.read_text().strip().rpartition(":")
        self.address = (host, int(port))

    @property
    def stdout(self) -> str:
        return (self.directory / "stdout").read_text("utf-8")

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text("utf-8")

    def workers(self) -> list[int]:
        """Their process ids, as the kernel tells them."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as children:
            return [int(child) for child in children.read().split()]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextmanager
def running(directory: pathlib.Path, *arguments: str) -> Iterator[Running]:
    one = Running(directory, *arguments)
    workers = one.workers()
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
    assert len(workers) == int(arguments[1])


@contextmanager
def senders(address: tuple[str, int], count: int) -> Iterator[list[logging.Logger]]:
    """So many streams, each with a logger; at the end everything was confirmed."""
    with ExitStack() as stack:
        loggers, handlers = [], []
        for number in range(count):
            handler = BatchUDPHandler(
                *address,
                delivery="acknowledged",
                overflow="block",
                overflow_timeout=SECONDS,
                shutdown_timeout=SECONDS,
                flush_interval=0.05,
            )
            stack.callback(handler.close)
            logger = logging.Logger(f"sender{number}")
            logger.addHandler(handler)
            loggers.append(logger)
            handlers.append(handler)
        yield loggers
        for handler in handlers:
            assert handler.flush(SECONDS) is not False
            handler.close()
            assert handler.stats().confirmed == handler.stats().accepted


def numbers_of(text: str) -> Counter[str]:
    """How often each message is there; every line is whole."""
    lines = text.splitlines()
    assert [line for line in lines if not re.fullmatch(r"s\d n\d+ pid=\d+", line)] == []
    return Counter(line.partition(" pid=")[0] for line in lines)


def test_a_killed_worker_loses_nothing(tmp_path: pathlib.Path) -> None:
    """Eight senders, one rotated file: a worker dies in the middle, and every record is there."""
    each = 3_000
    output = tmp_path / "all.log"
    flags = ("--output", str(output), "--max-bytes", "100000", "--backups", "1000")
    with running(tmp_path, "--workers", "2", *flags, "--pattern", PATTERN) as receiver:
        victim = receiver.workers()[0]
        with senders(receiver.address, 8) as loggers:
            for number in range(each):
                for sender, logger in enumerate(loggers):
                    logger.info("s%d n%d", sender, number)
                if number == each // 2:
                    wait_until(lambda: output.exists() and output.stat().st_size)
                    os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(receiver.workers()) == 2)
        assert victim not in receiver.workers()
        assert receiver.end() == 0
        assert "ended unasked (signal 9)" in receiver.stderr
        assert "workers 2, workers that died 1" in receiver.stderr
    files = [output, *tmp_path.glob("all.log.*")]
    assert len(files) > 2
    assert all(path.stat().st_size <= 100_000 for path in files)
    found = numbers_of("".join(path.read_text("utf-8") for path in files))
    assert set(found) == {f"s{sender} n{number}" for sender in range(8) for number in range(each)}


def test_counters_are_added_and_the_end_drains(tmp_path: pathlib.Path) -> None:
    """SIGTERM lets all workers finish what has arrived, and the summary is the sum of them."""
    with running(
        tmp_path, "--workers", "2", "--summary", "json", "--pattern", PATTERN
    ) as receiver:
        with senders(receiver.address, 16) as loggers:
            for number, logger in enumerate(loggers):
                for record in range(50):
                    logger.info("s%d n%d", number % 10, number * 100 + record)
        receiver.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: '"delivered": 800' in receiver.stderr)
        assert receiver.end() == 0
        so_far, ended = (json.loads(x) for x in receiver.stderr.splitlines() if x.startswith("{"))
    assert so_far["delivered"] == ended["delivered"] == 800
    assert ended["streams_seen"] == 16
    # a worker that takes its time is sent a batch again, which it recognises: no line is twice
    assert ended["lost"] == ended["missing"] == 0
    found = numbers_of(receiver.stdout)
    assert len(found) == sum(found.values()) == 800


def test_workers_say_what_they_refuse(tmp_path: pathlib.Path) -> None:
    """Each worker's warnings reach the standard error of the whole."""
    with running(tmp_path, "--workers", "2", "--allow", "192.0.2.0/24") as receiver:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.sendto(b'{"message": "m"}', receiver.address)
        wait_until(lambda: "refused 1 datagram from 127.0.0.1, not_allowed" in receiver.stderr)
        assert "WARNING: refused" in receiver.stderr


def test_a_stream_stays_with_its_worker(tmp_path: pathlib.Path) -> None:
    """A sender whose port changes with every datagram is one stream at one worker."""
    from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header

    with running(tmp_path, "--workers", "4", "--summary", "json") as receiver:
        for number in range(20):
            header = Header(
                DatagramType.DATA, 0, 0, 77, number + 1, number, int(time.time()), 1, 0, 1
            )
            datagram = CHECKSUM.seal(header.pack(), b'[{"message": "one"}]')
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.sendto(datagram, receiver.address)
        wait_until(lambda: receiver.stdout.count("one") == 20)
        assert receiver.end() == 0
        ended = json.loads(receiver.stderr.splitlines()[-1])
    assert ended["streams_seen"] == 1
    assert ended["delivered"] == 20


def test_what_many_clients_send_without_a_header_arrives(tmp_path: pathlib.Path) -> None:
    """Plain JSON has no stream; the kernel spreads it, and all of it is printed."""
    with running(tmp_path, "--workers", "3", "--pattern", "%(message)s") as receiver:
        for number in range(60):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.sendto(json.dumps({"message": f"m{number}"}).encode(), receiver.address)
        wait_until(lambda: receiver.stdout.count("\n") == 60)
        assert set(receiver.stdout.split()) == {f"m{number}" for number in range(60)}


def test_workers_end_with_their_supervisor(tmp_path: pathlib.Path) -> None:
    """Nothing is left behind when the supervisor is killed."""
    with running(tmp_path, "--workers", "2") as receiver:
        workers = receiver.workers()
        receiver.process.kill()
        receiver.process.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))


def test_a_second_group_is_refused(tmp_path: pathlib.Path) -> None:
    """Another group on the same port would take a share of the datagrams: exit code 73."""
    with running(tmp_path, "--workers", "2") as receiver:
        second = run("--workers", "2", "--host", "127.0.0.1", "--port", str(receiver.address[1]))
    assert second.returncode == 73
    assert "cannot listen" in second.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batchudp_handler", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--host", "unix:///tmp/none"), "needs a UDP address"),
        (("--from", "nats://127.0.0.1:1/A"), "not possible with --from"),
        (("--metrics-port", "0"), "not possible with --metrics-port"),
        (("--control-socket", "/tmp/none"), "not possible with a control socket"),
        (("--port", "0", "--output", "/nowhere/all.log"), "output: "),
    ],
)
def test_what_workers_cannot_do_is_said_once(flags: tuple[str, ...], words: str) -> None:
    """Exit code 78 with one line, whether the supervisor or the first worker finds out."""
    ended = run("--workers", "2", *flags)
    assert ended.returncode == 78
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr


def test_a_reload_reaches_every_worker(tmp_path: pathlib.Path) -> None:
    """SIGHUP to the supervisor: each worker reads the configuration again and says so."""
    config = tmp_path / "settings.json"
    config.write_text(json.dumps({"receive": {"pattern": "old %(message)s"}}))
    with running(tmp_path, "--workers", "2", "--config", str(config)) as receiver:
        config.write_text(json.dumps({"receive": {"pattern": "new %(message)s"}}))
        receiver.process.send_signal(signal.SIGHUP)
        wait_until(lambda: receiver.stderr.count("configuration read") == 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.sendto(b'{"message": "m"}', receiver.address)
        wait_until(lambda: receiver.stdout == "new m\n")


def stats(**values: Any) -> ReceiverStats:
    return ReceiverStats(**values)


def test_totals() -> None:
    """Numbers are added by name; a number that one of them cannot know is not known."""
    stream = StreamStats(1, "a", 0, acknowledged=True, first_rec=0, next_rec=5)
    later = StreamStats(1, "b", 0, acknowledged=True, first_rec=5, next_rec=9)
    first = stats(
        delivered=1, rejected={"json": 2}, uptime=3.0, kernel_drops=1, streams={"1": later}
    )
    second = stats(
        delivered=4, rejected={"json": 1, "shape": 1}, uptime=2.0, streams={"1": stream}
    )

    both = total([first, second])

    assert (both.delivered, both.uptime, both.kernel_drops) == (5, 3.0, None)
    assert both.rejected == {"json": 3, "shape": 1}
    assert both.streams == {"1": later}
    assert total([]) == ReceiverStats()
