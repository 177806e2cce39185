"""Do unix sockets and sockets that systemd holds keep records over the receiver's restart?"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from tests.network.support import PATIENCE, Calls, Far, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECEIVE = (sys.executable, "-m", "batchudp_handler")


def attach(calls: Calls, host: str, port: int = 9999, **settings: Any) -> BatchUDPHandler:
    """A handler for the calls, which the `logger` fixture closes."""
    defaults = {"flush_interval": 0.05, "shutdown_timeout": 0.3, "max_retries": 20}
    handler = BatchUDPHandler(host, port, **{**defaults, **settings})
    calls.logger.addHandler(handler)
    return handler


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_unix_sockets_on_both_ends(
    calls: Calls, tmp_path: Path, delivery: str, settle: Callable[..., Any]
) -> None:
    """A receiver that is behind is waited for: the kernel says when its queue has room."""
    host = f"unix://{tmp_path}/log.sock"
    far = Far(host)  # bound, and not yet reading
    # waiting for room is no failure: it uses up no attempt
    handler = attach(
        calls, host, delivery=delivery, max_retries=0, max_datagram_size=600, compress=False
    )
    calls.log_until(lambda: delivery != "one_way" or handler.stats().send_errors, pause=0.0)
    with far:
        calls.log(3_000, pause=0.0)
        assert handler.flush(PATIENCE)
        far.wait_for(calls.logged)
        row = settle(f"unix sockets on both ends, {delivery}", calls, far.messages)
        handler.close()
    assert (row.lost, row.duplicated) == (0, 0)


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_a_unix_receiver_that_restarts(
    calls: Calls, tmp_path: Path, delivery: str, settle: Callable[..., Any]
) -> None:
    """While nobody listens at the path records wait; the next receiver gets them once."""
    host = f"unix://{tmp_path}/log.sock"
    with Far(host) as first:
        handler = attach(calls, host, delivery=delivery)
        calls.log(60)
        assert handler.flush(PATIENCE)
        first.wait_for(calls.logged)
    calls.log_until(lambda: sum(handler.stats().send_errors.values()) >= 2)
    with Far(host) as second:
        calls.log(60)
        assert handler.flush(PATIENCE)
        wait_until(lambda: len({*first.messages, *second.messages}) == calls.logged)
        messages = first.messages + second.messages
        row = settle(f"unix receiver restarts, {delivery}", calls, messages)
        handler.close()
    assert (row.lost, row.duplicated) == (0, 0)


# --- activation --------------------------------------------------------------------------------


class Output:
    """The file to which a receiver process writes messages."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "records.log"
        self.flags = ("--output", str(self.path), "--format", "json")

    @property
    def messages(self) -> list[str]:
        """What has been written."""
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [json.loads(line)["msg"] for line in lines if line.endswith("\n")]

    def wait_for(self, number: int) -> None:
        """Wait for so many lines."""
        wait_until(lambda: len(self.messages) >= number)


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end, and waited for."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
        process.terminate()
        assert process.wait(PATIENCE) in (0, -15)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)


@pytest.mark.parametrize("is_unix", [False, True])
def test_the_datagram_that_starts_the_receiver_is_not_lost(
    calls: Calls,
    is_unix: bool,
    tmp_path: Path,
    require: Callable[..., str],
    settle: Callable[..., Any],
) -> None:
    """`systemd-socket-activate --datagram` starts the receiver by the first one, and it counts."""
    path, port = f"{tmp_path}/log.sock", free_port()
    output = Output(tmp_path)
    listen = path if is_unix else f"127.0.0.1:{port}"
    command = [
        require("systemd-socket-activate", is_of_system=True),
        "--datagram",
        "--listen",
        listen,
    ]
    keep = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
    with running([*command, *keep, *RECEIVE, *output.flags]):
        wait_until(lambda: _is_bound(path, port, is_unix=is_unix))
        handler = attach(calls, f"unix://{path}" if is_unix else "127.0.0.1", port)
        calls.log(1)
        assert handler.flush(PATIENCE)
        calls.log(59)
        assert handler.flush(PATIENCE)
        output.wait_for(calls.logged)
        handler.close()
    kind = "unix" if is_unix else "UDP"
    row = settle(f"systemd-socket-activate, {kind}", calls, output.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    assert output.messages[0] == "n 0"


def _is_bound(path: str, port: int, *, is_unix: bool) -> bool:
    if is_unix:
        return os.path.exists(path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    time.sleep(0.01)  # leave the port to the one who is to have it
    return False


PASS_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does in the process that becomes the service."""


@pytest.mark.parametrize("is_unix", [False, True])
@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_a_socket_that_systemd_holds_outlives_the_receiver(
    calls: Calls, is_unix: bool, delivery: str, tmp_path: Path, settle: Callable[..., Any]
) -> None:
    """Datagrams of the time between two receivers wait in the kernel, and the next has them."""
    output = Output(tmp_path)
    with socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(f"{tmp_path}/log.sock" if is_unix else ("127.0.0.1", 0))
        host = f"unix://{tmp_path}/log.sock" if is_unix else "127.0.0.1"
        port = 9999 if is_unix else held.getsockname()[1]
        handler = attach(calls, host, port, delivery=delivery)

        def serve() -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
            passed = held.fileno()
            command = [sys.executable, "-c", PASS_ON, str(passed), *RECEIVE, *output.flags]
            return running(command, pass_fds=[passed])

        for life in range(3):
            calls.log(5)  # the first of them while nobody reads
            with serve():
                calls.log(60)
                assert handler.flush(PATIENCE)
                wait_until(lambda: len(set(output.messages)) == calls.logged)
            assert life == 2 or handler.stats().dropped == {}
        handler.close()
    kind = "unix" if is_unix else "UDP"
    row = settle(f"held socket, two restarts, {kind}, {delivery}", calls, output.messages)
    assert row.lost == 0
    assert row.duplicated <= handler.stats().resent_to_new_receiver
