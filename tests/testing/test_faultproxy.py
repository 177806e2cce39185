"""The proxy on real sockets, in a thread and as a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario
from batchudp_handler.testing.faultproxy.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TIMEOUT = 60.0


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A socket to which the proxy forwards."""
    with udp_socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """A socket that sends to the proxy."""
    with udp_socket() as sock:
        yield sock


def udp_socket(family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT)
    return sock


def wait_for(proxy: FaultProxy, counter: str, count: int) -> None:
    """Poll until the proxy has done something `count` times to datagrams for the receiver."""
    deadline = time.monotonic() + TIMEOUT
    while proxy.counters()["to_receiver"][counter] < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_both_directions_pass(receiver: socket.socket, sender: socket.socket) -> None:
    """What the sender sends arrives, and the answer finds its way back."""
    with FaultProxy(receiver.getsockname()) as proxy:
        sender.sendto(b"ping", proxy.address)
        data, address = receiver.recvfrom(100)
        receiver.sendto(b"pong", address)
        assert (data, *sender.recvfrom(100)) == (b"ping", b"pong", proxy.address)
        counters = proxy.counters()
    assert counters["to_receiver"]["forwarded"] == counters["to_sender"]["forwarded"] == 1
    assert counters["proxy"] == {"clients": 1, "rebinds": 0, "send_errors": 0}


def test_senders_are_told_apart(receiver: socket.socket, sender: socket.socket) -> None:
    """Each sender has its own address at the receiver, and gets its own answers."""
    with FaultProxy(receiver.getsockname()) as proxy, udp_socket() as other:
        for name, sock in ((b"a", sender), (b"b", other)):
            sock.sendto(name, proxy.address)
        for _ in range(2):
            data, address = receiver.recvfrom(100)
            receiver.sendto(data.upper(), address)
        assert (sender.recv(100), other.recv(100)) == (b"A", b"B")


def test_largest_datagram_passes(receiver: socket.socket, sender: socket.socket) -> None:
    """65,507 bytes fit through."""
    payload = bytes(65_507)
    with FaultProxy(receiver.getsockname()) as proxy:
        sender.sendto(payload, proxy.address)
        assert receiver.recv(70_000) == payload


def test_delay_is_kept_in_real_time(receiver: socket.socket, sender: socket.socket) -> None:
    """The thread sleeps until the next deadline and then delivers."""
    scenario = Scenario.steady(Faults(delay=0.1))
    with FaultProxy(receiver.getsockname(), scenario) as proxy:
        start = time.monotonic()
        sender.sendto(b"x", proxy.address)
        receiver.recv(10)
        assert 0.1 <= time.monotonic() - start < 30.0


def test_change_takes_effect_at_once(receiver: socket.socket, sender: socket.socket) -> None:
    """Faults can be switched while datagrams flow."""
    with FaultProxy(receiver.getsockname()) as proxy:
        proxy.change(Faults(blackhole=True))
        sender.sendto(b"lost", proxy.address)
        sender.sendto(b"lost too", proxy.address)
        wait_for(proxy, "blackholed", 2)
        proxy.change()
        sender.sendto(b"arrives", proxy.address)
        assert receiver.recv(100) == b"arrives"


def test_rebind_changes_the_source_port(receiver: socket.socket, sender: socket.socket) -> None:
    """The receiver sees a new address; answers to the new one arrive."""
    with FaultProxy(receiver.getsockname()) as proxy:
        sender.sendto(b"1", proxy.address)
        _, first = receiver.recvfrom(100)
        proxy.rebind()
        sender.sendto(b"2", proxy.address)
        _, second = receiver.recvfrom(100)
        receiver.sendto(b"back", second)
        assert sender.recv(100) == b"back"
    assert first != second


def test_redirect_moves_to_another_receiver(
    receiver: socket.socket, sender: socket.socket
) -> None:
    """A receiver that came back on another port is reached."""
    with FaultProxy(receiver.getsockname()) as proxy, udp_socket() as other:
        other.bind(("127.0.0.1", 0))
        proxy.redirect(other.getsockname())
        sender.sendto(b"moved", proxy.address)
        assert other.recv(100) == b"moved"


def test_absent_receiver_is_silence(receiver: socket.socket, sender: socket.socket) -> None:
    """A closed port behind the proxy does not end it."""
    with udp_socket() as gone:
        gone.bind(("127.0.0.1", 0))
        target = gone.getsockname()
    with FaultProxy(target) as proxy:
        for _ in range(10):
            sender.sendto(b"x", proxy.address)
        wait_for(proxy, "forwarded", 10)
        proxy.redirect(receiver.getsockname())
        sender.sendto(b"still here", proxy.address)
        assert receiver.recv(100) == b"still here"


def test_clients_are_bounded(receiver: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender that was silent longest makes room."""
    monkeypatch.setattr("batchudp_handler.testing.faultproxy.proxy.MAX_CLIENTS", 2)
    with FaultProxy(receiver.getsockname()) as proxy:
        for _ in range(4):
            with udp_socket() as sock:
                sock.sendto(b"x", proxy.address)
                receiver.recv(10)
        assert proxy.counters()["proxy"]["clients"] == 2


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6() -> None:
    """Addresses of either family work."""
    with udp_socket(socket.AF_INET6) as receiver, udp_socket(socket.AF_INET6) as sender:
        try:
            receiver.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 loopback here")
        target = receiver.getsockname()[:2]
        with FaultProxy(target, listen=("::1", 0)) as proxy:
            sender.sendto(b"six", proxy.address)
            assert receiver.recv(10) == b"six"


def test_address_in_use_leaves_no_socket_behind(receiver: socket.socket) -> None:
    """A bind that fails raises and closes what it opened (a warning would be an error here)."""
    with pytest.raises(OSError, match="in use"):
        FaultProxy(("127.0.0.1", 9), listen=receiver.getsockname())


def test_close_twice(receiver: socket.socket) -> None:
    """Closing is idempotent, also for a proxy that never ran."""
    proxy = FaultProxy(receiver.getsockname())
    proxy.close()
    proxy.close()


def test_process(receiver: socket.socket, sender: socket.socket, tmp_path: Path) -> None:
    """As a process it says where it listens, and at SIGTERM what it did."""
    scenario = tmp_path / "scenario.json"
    scenario.write_text('{"phases": [{"to_receiver": {"duplicate": 1.0}}]}')
    host, port = receiver.getsockname()
    command = [sys.executable, "-m", "batchudp_handler.testing.faultproxy"]
    command += ["--target", f"{host}:{port}", "--scenario", str(scenario), "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        listening = process.stdout.readline().split()[-1].rsplit(":", 1)
        sender.sendto(b"x", (listening[0], int(listening[1])))
        assert [receiver.recv(10), receiver.recv(10)] == [b"x", b"x"]
        process.send_signal(signal.SIGTERM)
        counters = json.loads(process.communicate(timeout=TIMEOUT)[0])
        assert process.returncode == 0
    assert counters["to_receiver"]["duplicated"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--target", "nowhere"],
        ["--target", "127.0.0.1:9", "--both", "loss"],
        ["--target", "127.0.0.1:9", "--both", "loss=2"],
        ["--target", "127.0.0.1:9", "--both", "los=0.2"],
        ["--target", "127.0.0.1:9", "--scenario", "absent.toml"],
        ["--target", "127.0.0.1:9", "--scenario", "absent.toml", "--both", "loss=0.1"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line exits with 64 and says why."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 64
    assert "usage:" in capsys.readouterr().err


def test_run_time_and_inline_faults(
    receiver: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a script the flags describe the network; --run-time ends it."""
    host, port = receiver.getsockname()
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        arguments = ["--target", f"{host}:{port}", "--run-time", "0.05", "--to-sender", "loss=1"]
        assert main([*arguments, "--both", "delay=0.1,jitter=0.1", "--rebind-interval", "5"]) == 0
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("listening on 127.0.0.1:")
    assert json.loads(last)["to_receiver"]["received"] == 0


def test_package_does_not_import_testing() -> None:
    """Programs do not pay for the test helpers."""
    code = "import batchudp_handler, sys; print('batchudp_handler.testing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
