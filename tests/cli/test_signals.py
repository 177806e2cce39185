"""SIGTERM and SIGINT end both scripts soon, in whatever state they are."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

TIMEOUT = 1.0
"""The scripts' `shutdown_timeout`."""
SLACK = 2.0
"""Seconds for a machine that does something else as well."""
PATIENCE = 60.0

HANGS_IN_RESOLVER = """
import os, socket, time
def getaddrinfo(host, *rest, real=socket.getaddrinfo, **more):
    if "hangs.example" in str(host):
        open(os.environ["MARKER"], "w").close()
        time.sleep(1_000)
    return real(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""
HANGS_ON_DISK = """
import os, time
def hang(*rest, real=os.open, **more):
    if more.get("dir_fd") is not None and rest[1] & os.O_CREAT:
        open(os.environ["MARKER"], "w").close()
        time.sleep(1_000)
    return real(*rest, **more)
os.open = hang
"""
SLOW_HANDLER = """
import logging, time
class Slow(logging.NullHandler):
    def __init__(self, marker):
        super().__init__()
        open(marker, "w").close()
        time.sleep(1_000)
"""


@dataclass(slots=True)
class Case:
    """One process in its state."""

    directory: pathlib.Path
    process: subprocess.Popen[bytes] | None = None
    closes: list[int] = field(default_factory=list)
    handlers: list[BatchUDPHandler] = field(default_factory=list)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def start(self, command: str, *arguments: str, before: str = "", **options: Any) -> None:
        """Run a script, after some other code if need be."""
        code = f"{before}\nimport sys\nfrom batchudp_handler.cli.{command} import main\n"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BATCHUDP_")}
        places = (str(self.directory), *filter(None, [os.environ.get("PYTHONPATH")]))
        environment |= {"PYTHONPATH": os.pathsep.join(places), "MARKER": self.path("marker")}
        with open(self.path("stderr"), "wb") as err:
            options = {"stdin": subprocess.DEVNULL, "stderr": err, "stdout": err, **options}
            self.process = subprocess.Popen(
                [sys.executable, "-c", code + "sys.exit(main())", *arguments],
                env=environment,
                **options,
            )

    def receive(self, *arguments: str, **options: Any) -> None:
        """A receiver, until it listens."""
        ready = ("--ready-file", self.path("ready"), "--shutdown-timeout", str(TIMEOUT))
        where = ("--host", "127.0.0.1", "--port", "0", "--control-socket", "off")
        self.start("receive", *where, *ready, *arguments, **options)
        self.wait_for("ready")

    def wait_for(self, name: str) -> None:
        wait_until(lambda: os.path.exists(self.path(name)) or self.running.poll() is not None)
        assert self.running.poll() is None, self.stderr

    def send(self, *arguments: str, **options: Any) -> None:
        """A sender, until it follows signals."""
        self.start("send", "--shutdown-timeout", str(TIMEOUT), *arguments, **options)
        wait_until(lambda: catches(self.running.pid, signal.SIGTERM))

    def fill(self) -> None:
        """Have the receiver get more than any pipe holds."""
        with open(self.path("ready"), encoding="utf-8") as file:
            host, _, port = file.read().strip().rpartition(":")
        handler = BatchUDPHandler(host, int(port), delivery="acknowledged", shutdown_timeout=0)
        self.handlers.append(handler)
        logger = logging.Logger("sender")
        logger.addHandler(handler)
        for number in range(5_000):
            logger.info("%d %s", number, "x" * 100)
        handler.flush(1.0)

    def pipe(self) -> int:
        """A pipe that nobody reads."""
        reader, writer = os.pipe()
        self.closes += [reader, writer]
        return writer

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    @property
    def stderr(self) -> str:
        with open(self.path("stderr"), encoding="utf-8") as file:
            return file.read()

    def children(self) -> list[int]:
        found: list[int] = []
        for task in os.listdir(f"/proc/{self.running.pid}/task"):
            path = f"/proc/{self.running.pid}/task/{task}/children"
            with suppress(FileNotFoundError), open(path, encoding="ascii") as file:
                found += map(int, file.read().split())
        return found


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal by now."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        (caught,) = (line.split()[1] for line in file if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{gone.getsockname()[1]}"


def stuff(pipe: int) -> None:
    """Leave no room in a pipe."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    os.set_blocking(pipe, True)


@pytest.fixture
def case(tmp_path: pathlib.Path) -> Iterator[Case]:
    one = Case(tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        for child in one.children():
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
        one.process.kill()
    if one.process is not None:
        one.process.wait()
    for descriptor in one.closes:
        os.close(descriptor)
    for handler in one.handlers:
        handler.close()


# --- states --------------------------------------------------------------------------------------


def idle(case: Case) -> None:
    case.receive()


def stdout_is_blocked(case: Case) -> None:
    case.receive(stdout=case.pipe())
    case.fill()


def stdout_of_workers_is_blocked(case: Case) -> None:
    case.receive("--workers", "2", stdout=case.pipe())
    case.fill()


def everything_is_blocked(case: Case) -> None:
    """Standard error, too, so that nothing can be said."""
    pipe = case.pipe()
    case.receive("--stats-interval", "0.1", stdout=pipe, stderr=pipe)
    stuff(pipe)
    case.fill()


def a_fifo_has_no_reader(case: Case) -> None:
    os.mkfifo(case.path("fifo"))
    case.receive("--output", case.path("fifo"))
    case.fill()


def the_disk_is_full(case: Case) -> None:
    case.receive("--output", "/dev/full")
    case.fill()


def a_handler_of_the_user_is_blocked(case: Case) -> None:
    handlers = {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}
    config = {"version": 1, "handlers": handlers, "root": {"level": 0, "handlers": ["out"]}}
    with open(case.path("config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    case.receive("--config", case.path("config.json"), stdout=case.pipe())
    case.fill()


def a_worker_is_stopped(case: Case) -> None:
    case.receive("--workers", "2")
    os.kill(case.children()[0], signal.SIGSTOP)


def a_reload_hangs(case: Case) -> None:
    path = case.path("config.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": 1, "disable_existing_loggers": False}, file)
    with open(case.path("slow.py"), "w", encoding="utf-8") as file:
        file.write(SLOW_HANDLER)
    case.receive("--config", path)
    slow = {"()": "slow.Slow", "marker": case.path("marker")}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": 1, "handlers": {"slow": slow}}, file)
    case.running.send_signal(signal.SIGHUP)
    case.wait_for("marker")


def the_engine_is_away(case: Case) -> None:
    case.receive("--forward", f"nats://{nobody()}/LOGS")
    case.fill()


def the_engine_it_takes_from_is_away(case: Case) -> None:
    engine = ("--from", f"nats://{nobody()}/LOGS", "--control-socket", "off")
    case.start("receive", *engine, "--shutdown-timeout", str(TIMEOUT))
    wait_until(lambda: catches(case.running.pid, signal.SIGTERM))


def the_name_of_the_engine_hangs(case: Case) -> None:
    engine = ("--from", "nats://hangs.example/LOGS", "--control-socket", "off")
    timeout = ("--shutdown-timeout", str(TIMEOUT))
    case.start("receive", *engine, *timeout, before=HANGS_IN_RESOLVER)
    case.wait_for("marker")


def the_name_to_bind_hangs(case: Case) -> None:
    where = ("--host", "hangs.example", "--port", "0")
    case.start("receive", *where, before=HANGS_IN_RESOLVER)
    case.wait_for("marker")


def sending_samples(case: Case) -> None:
    case.send("--target-host", nobody(), "--logs-per-second", "100", "--run-time", "0")


def lines_wait_for_a_receiver(case: Case) -> None:
    path = case.path("lines")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{os.urandom(100).hex()}\n" for _ in range(100_000))
    case.send("--target-host", nobody(), "--file", path)


def standard_input_is_silent(case: Case) -> None:
    reader = os.pipe()
    case.closes += reader
    case.send("--target-host", nobody(), stdin=reader[0])


def a_file_is_followed(case: Case) -> None:
    with open(case.path("lines"), "w", encoding="utf-8") as file:
        file.write("one\n")
    case.send("--target-host", nobody(), "--file", case.path("lines"), "--follow")


def the_name_of_the_receiver_hangs(case: Case) -> None:
    flags = ("--target-host", "hangs.example", "--run-time", "0", "--logs-per-second", "100")
    case.send(*flags, before=HANGS_IN_RESOLVER)
    case.wait_for("marker")


def the_spool_hangs(case: Case) -> None:
    spool = case.path("segments")
    with open(case.path("lines"), "w", encoding="utf-8") as file:
        file.writelines(f"{os.urandom(100).hex()}\n" for _ in range(100_000))
    flags = ("--target-host", nobody(), "--file", case.path("lines"), "--spool-directory", spool)
    case.send(*flags, before=HANGS_ON_DISK)
    case.wait_for("marker")


def the_summary_is_blocked(case: Case) -> None:
    pipe = case.pipe()
    stuff(pipe)
    case.send("--target-host", nobody(), "--run-time", "0", stderr=pipe)


RECEIVING = [
    *(idle, stdout_is_blocked, stdout_of_workers_is_blocked, everything_is_blocked),
    *(a_fifo_has_no_reader, the_disk_is_full, a_handler_of_the_user_is_blocked),
    *(a_worker_is_stopped, a_reload_hangs, the_engine_is_away, the_engine_it_takes_from_is_away),
    *(the_name_of_the_engine_hangs, the_name_to_bind_hangs),
]
SENDING = [
    *(sending_samples, lines_wait_for_a_receiver, standard_input_is_silent, a_file_is_followed),
    *(the_name_of_the_receiver_hangs, the_spool_hangs, the_summary_is_blocked),
]


@pytest.mark.parametrize("state", [*RECEIVING, *SENDING])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(case: Case, state: Callable[[Case], None], number: int) -> None:
    """Within `shutdown_timeout` and a second; no child is left behind."""
    state(case)
    children = case.children()
    began = time.monotonic()
    case.running.send_signal(number)
    case.running.wait(PATIENCE)
    took = time.monotonic() - began
    assert took < TIMEOUT + 1.0 + SLACK, case.stderr
    by_force = {70, -signal.SIGALRM}  # a busy machine has not let it say its last words in time
    assert case.running.returncode in {0, 69, -number, *by_force}, case.stderr
    assert "Traceback" not in case.stderr
    wait_until(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))


@pytest.mark.parametrize(
    "state",
    [stdout_is_blocked, the_engine_is_away, a_worker_is_stopped, the_spool_hangs],
)
def test_a_second_signal_ends_it_at_once(case: Case, state: Callable[[Case], None]) -> None:
    """Whoever is in a hurry does not wait for `shutdown_timeout`."""
    state(case)
    case.running.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    began = time.monotonic()
    case.running.send_signal(signal.SIGINT)
    assert case.running.wait(PATIENCE) != 0
    assert time.monotonic() - began < TIMEOUT - 0.2 + SLACK


def test_what_was_not_written_is_said(case: Case) -> None:
    """The sender knows that it is not confirmed, and the receiver's summary counts it."""
    stdout_is_blocked(case)
    (handler,) = case.handlers
    case.running.terminate()
    case.running.wait(PATIENCE)
    handler.close()
    summary = case.stderr.splitlines()[-1]
    assert "ended: " in summary
    assert "not written" in summary
    assert handler.stats().confirmed < 5_000
