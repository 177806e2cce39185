"""The service manager learns when the receiver is ready, alive, hung and ending."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Self

import pytest

from batchudp_handler.control.client import ask
from batchudp_handler.control.heartbeat import Heartbeat
from batchudp_handler.control.notify import Notifier
from tests.cli.test_receive import Running
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

TIME_LIMIT = 60.0


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(TIME_LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def next_with(self, name: str) -> dict[str, str]:
        deadline = time.monotonic() + TIME_LIMIT
        while time.monotonic() < deadline:
            told = self.next()
            if name in told:
                return told
        raise AssertionError(f"waited in vain for {name}")

    def waiting(self) -> list[dict[str, str]]:
        """What is there now."""
        self._socket.settimeout(0)
        told = []
        try:
            while True:
                told.append(self.next())
        except BlockingIOError:
            return told
        finally:
            self._socket.settimeout(TIME_LIMIT)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_alive_and_stopping_are_told(tmp_path: pathlib.Path, kind: str) -> None:
    """READY=1 when it listens, WATCHDOG=1 again and again, STOPPING=1 at the signal."""
    address = str(tmp_path / "notify") if kind == "path" else f"@batchudp-test-{os.getpid()}"
    with Manager(address) as manager:
        with Running(tmp_path, NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000") as running:
            told = manager.next_with("READY")
            assert told["READY"] == "1"
            for _ in range(3):
                assert manager.next_with("WATCHDOG")["WATCHDOG"] == "1"
            assert running.address in manager.next_with("STATUS")["STATUS"]
            assert running.end() == 0
        assert manager.next_with("STOPPING")["STOPPING"] == "1"


@pytest.mark.slow
def test_a_receiver_that_hangs_gives_no_sign_of_life(tmp_path: pathlib.Path) -> None:
    """While an output blocks, WATCHDOG=1 is missing and health says why; then both come back."""
    address, place, pipe = (str(tmp_path / name) for name in ("notify", "control", "pipe"))
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDWR)
    flags = ("--output", pipe, "--control-socket", place)
    with (
        Manager(address) as manager,
        Running(tmp_path, *flags, NOTIFY_SOCKET=address, WATCHDOG_USEC="2000000") as running,
    ):
        manager.next_with("WATCHDOG")
        for _ in range(8):  # more than a pipe holds
            running.send({"message": "x" * 30_000})
        wait_until(lambda: not ask([place], "health")["healthy"], "the hung worker to be noticed")
        assert "busy" in ask([place], "health")["text"]
        manager.waiting()
        assert "busy" in manager.next_with("STATUS")["STATUS"]
        assert not any("WATCHDOG" in told for told in manager.waiting())

        os.set_blocking(reading, False)
        wait_until(lambda: drained(reading) and ask([place], "health")["healthy"], "its recovery")
        manager.next_with("WATCHDOG")
    os.close(reading)


def drained(descriptor: int) -> bool:
    try:
        while os.read(descriptor, 65_536):
            pass
    except BlockingIOError:
        return True
    return True


def test_variables_are_for_this_process_only() -> None:
    """They are removed from the environment, and another process's watchdog is not ours."""
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}
    notifier = Notifier.from_environment(environ, 7)
    assert (environ, notifier.watchdog, notifier.is_active) == ({}, 3.0, True)

    other = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}
    assert Notifier.from_environment(other, 7).watchdog == 0
    assert not Notifier.from_environment({}, 7).is_active


def test_a_manager_that_is_gone_is_no_problem(tmp_path: pathlib.Path) -> None:
    """Telling nobody, or a socket that is not there, does nothing."""
    Notifier().tell(READY=1)
    Notifier(str(tmp_path / "gone")).tell(READY=1)


def test_a_status_is_one_line(tmp_path: pathlib.Path) -> None:
    """No text can add an assignment of its own."""
    address = str(tmp_path / "notify")
    with Manager(address) as manager:
        Notifier(address).tell(STATUS="fine\nREADY=1")
        assert manager.next() == {"STATUS": "fine READY=1"}


def test_a_loop_that_does_not_answer_is_asked_once() -> None:
    """Its silence grows from the question on, and questions do not pile up."""
    questions: list[Callable[[], None]] = []
    now = 0.0
    pulse = Heartbeat(
        {"hung": questions.append, "well": lambda answer: answer()},
        interval=1.0,
        after_question=lambda: None,
        clock=lambda: now,
    )
    for _ in range(3):
        now += 1.0
        pulse.beat()
    assert len(questions) == 1
    assert pulse.silence() == {"hung": 2.0, "well": 0.0}

    questions[0]()
    assert pulse.silence() == {"hung": 0.0, "well": 0.0}
