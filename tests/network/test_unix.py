"""Unix sockets and sockets that systemd holds keep records over the receiver's restart."""

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
from tests.network.support import PATIENCE, Calls, Far
from tests.support import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.network.support import Network

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


# --- who can be answered -----------------------------------------------------------------------

SENDER = """
import json, logging, sys
from batchudp_handler import BatchUDPHandler
from batchudp_handler.transport import reply_name

reply_name.HAS_ABSTRACT_NAMES = sys.argv[2] == "True"
handler = BatchUDPHandler(sys.argv[1], delivery="acknowledged", shutdown_timeout=20)
log = logging.getLogger("elsewhere")
log.propagate = False
log.addHandler(handler)
for number in range(50):
    log.warning("n %d", number)
print(handler.flush(float(sys.argv[3])))
if sys.argv[4:]:
    print(*sorted(handler.stats().send_errors), handler.stats().last_error, sep="; ")
    handler.reconfigure(shutdown_timeout=0.1)
handler.close()
"""


def run_elsewhere(
    namespace: str | None, host: str, *arguments: object
) -> subprocess.CompletedProcess[str]:
    """A sender in a network namespace of its own, as in another container."""
    command = [] if namespace is None else ["ip", "netns", "exec", namespace]
    return subprocess.run(
        [*command, sys.executable, "-c", SENDER, host, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def reply_paths(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".batchudp-")]


def test_a_sender_in_another_network_namespace_is_answered(
    network: Network, tmp_path: Path
) -> None:
    """It cannot be under an abstract name, and is beside the receiver's socket."""
    with Far(f"unix://{tmp_path}/log.sock") as far:
        done = run_elsewhere(network.near, f"unix://{tmp_path}/log.sock", True, 20)
        assert (done.stdout, done.stderr) == ("True\n", "")
        assert sorted(far.messages) == sorted(f"n {number}" for number in range(50))
        assert reply_paths(tmp_path) == []


def test_the_directory_has_another_name_for_the_sender(network: Network, tmp_path: Path) -> None:
    """As a volume has that is mounted elsewhere in each container."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    with Far(f"unix://{inside}/log.sock") as far:
        mount = f'mount --bind {inside} {outside} && mount -t tmpfs none {inside} && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", "ip", "netns", "exec"]
        arguments = [f"unix://{outside}/log.sock", "True", "20"]
        done = subprocess.run(
            [*command, network.near, sys.executable, "-c", SENDER, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("True\n", "")
        assert len(far.messages) == 50


def test_where_there_are_no_abstract_names(tmp_path: Path) -> None:
    """As on macOS: the path serves from the start, and goes with the handler."""
    with Far(f"unix://{tmp_path}/log.sock") as far:
        done = run_elsewhere(None, f"unix://{tmp_path}/log.sock", False, 20)
        assert (done.stdout, done.stderr) == ("True\n", "")
        assert len(far.messages) == 50
        assert reply_paths(tmp_path) == []


@pytest.mark.parametrize("is_elsewhere", [True, False])
def test_nobody_can_be_answered(
    request: pytest.FixtureRequest, tmp_path: Path, is_elsewhere: bool
) -> None:
    """Neither way is there, as the path would be too long: the sender says what is wrong."""
    namespace = request.getfixturevalue("network").near if is_elsewhere else None
    folder = tmp_path / ("x" * max(95 - len(f"{tmp_path}/"), 1))
    folder.mkdir()
    with Far(f"unix://{folder}/l"):
        done = run_elsewhere(namespace, f"unix://{folder}/l", is_elsewhere, 2, "tell")
    is_answered, told = done.stdout.splitlines()
    assert is_answered == "False"
    assert "no_reply_path" in told
    assert "no socket for them can be made beside its own" in told
    assert "50 records" in done.stderr


def test_sockets_of_killed_senders_are_removed_by_the_next(tmp_path: Path) -> None:
    """Those that live, files of that name and other files stay."""
    dead, alive = (f"{tmp_path}/.batchudp-{number:016x}" for number in (1, 2))
    (tmp_path / f".batchudp-{3:016x}").write_text("precious")
    (tmp_path / "other.sock").write_text("precious")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second,
        Far(f"unix://{tmp_path}/log.sock"),
    ):
        first.bind(dead)
        first.close()
        second.bind(alive)
        assert run_elsewhere(None, f"unix://{tmp_path}/log.sock", False, 20).stdout == "True\n"
        left = {f".batchudp-{number:016x}" for number in (2, 3)}
        assert set(reply_paths(tmp_path)) == left


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_path_of_the_parent_outlives_its_child(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child closes what it inherited, and removes nothing."""
    monkeypatch.setattr("batchudp_handler.transport.reply_name.HAS_ABSTRACT_NAMES", False)
    with Far(f"unix://{tmp_path}/log.sock"):
        handler = attach(calls, f"unix://{tmp_path}/log.sock", delivery="acknowledged")
        calls.log(5)
        assert handler.flush(PATIENCE)
        before = reply_paths(tmp_path)
        child = os.fork()
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert reply_paths(tmp_path) == before != []
        calls.log(5)
        assert handler.flush(PATIENCE)
        handler.close()
        assert reply_paths(tmp_path) == []


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
