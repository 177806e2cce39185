"""A datagram leaves where it can, and every failure is told for what it is.

Real sockets on the loopback wherever the failure can be had there; where it cannot, a socket
whose `send` fails with the errno in question.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.transport import SendError, UDPTransport, Wakeup, look_up
from batchudp_handler.transport.owned import OwnedSocket
from batchudp_handler.transport.resolver import Resolver
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def run_in_thread(function: Callable[[], None]) -> None:
    threading.Thread(target=function, daemon=True).start()


def make_transport(host: str, port: int = 9999, **options: object) -> UDPTransport:
    settings: dict[str, object] = {"fit_path": True, "resolve_interval": None}
    settings |= {"run_aside": run_in_thread, "random": lambda: 0.5}
    return UDPTransport(host, port, **{**settings, **options})  # type: ignore[arg-type]  # a table of options


def open_soon(transport: UDPTransport) -> None:
    wait_until(lambda: transport.open(time.monotonic()))


def unused_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def failure_of(transport: UDPTransport, datagram: bytes) -> SendError:
    with pytest.raises(SendError) as caught:
        transport.send(datagram)
    return caught.value


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(60.0)
        yield sock


@pytest.fixture
def transport(receiver: socket.socket) -> Iterator[UDPTransport]:
    made = make_transport("127.0.0.1", receiver.getsockname()[1])
    assert made.open(0.0)
    yield made
    made.close()


class Failing:
    """A socket that refuses to send, for a reason that loopback does not offer."""

    def __init__(self, sock: socket.socket, code: int) -> None:
        self._socket = sock
        self._code = code

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)

    def send(self, datagram: bytes) -> int:
        raise OSError(self._code, os.strerror(self._code))


# --- addresses ---------------------------------------------------------------------------------


def test_a_number_needs_no_resolver(transport: UDPTransport, receiver: socket.socket) -> None:
    """An address in figures is open at the first call, and datagrams arrive."""
    transport.send(b"one")
    assert receiver.recv(100) == b"one"


def test_a_name_is_looked_up_aside(receiver: socket.socket) -> None:
    """`open` does not wait for the resolver, and is woken by its answer."""
    transport = make_transport("localhost", receiver.getsockname()[1])
    with closing(transport):
        open_soon(transport)
        transport.send(b"hello")
        assert receiver.recv(100) == b"hello"
        assert transport.resolves == 1


def test_a_resolver_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it hangs, `open` says no at once, asks no second time, and `close` does not wait."""
    answer = threading.Event()
    asked = []

    def hang(host: bytes, *args: object, flags: int = 0, **options: object) -> list[object]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked.append(host)
        answer.wait(10.0)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    transport = make_transport("slow.example")
    began = time.monotonic()
    try:
        assert not any(transport.open(float(second)) for second in range(60))
        transport.close()
        assert time.monotonic() - began < 5.0
        wait_until(lambda: asked == [b"slow.example"])
    finally:
        answer.set()


def test_an_unknown_name_is_asked_for_again_but_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed look-ups are counted, and their distance grows to two seconds."""

    def refuse(*args: object, **options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    transport = make_transport("nowhere.example", run_aside=lambda function: function())
    with closing(transport):
        for tenth in range(100):
            assert not transport.open(tenth / 10)
        assert 6 <= transport.errors["name_not_resolved"] <= 12
        assert transport.retry_at is not None


def test_a_number_asks_no_resolver(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what gevent puts in its place, which starts threads and imports modules at that."""

    def recurse(*args: object, **options: object) -> list[object]:
        raise RecursionError("while being patched in")

    monkeypatch.setattr(socket, "getaddrinfo", recurse)
    with closing(make_transport("127.0.0.1", receiver.getsockname()[1])) as transport:
        assert transport.open(0.0)
        transport.send(b"hello")
        assert receiver.recv(100) == b"hello"


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, ImportError])
def test_a_resolver_that_fails_in_its_own_way_is_asked_again(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """One failure of a resolver that somebody patched in does not end the look-ups."""
    found: list[object] = [
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", receiver.getsockname()),
    ]
    failures = [error("cannot register atexit after shutdown")]

    def fail_once(*args: object, **options: object) -> list[object]:
        if failures:
            raise failures.pop()
        return found

    monkeypatch.setattr(socket, "getaddrinfo", fail_once)
    transport = make_transport("patched.example", run_aside=lambda function: function())
    with closing(transport):
        assert not transport.open(0.0)
        assert transport.errors == {"name_not_resolved": 1}
        assert transport.open(10.0)


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "a..b", "\udcff"])
def test_a_name_that_cannot_be_asked_for_is_an_unknown_name(name: str) -> None:
    """What the encoding of host names refuses is counted like a name that nobody has."""
    transport = make_transport(name, run_aside=lambda function: function())
    with closing(transport):
        assert not transport.open(0.0)
        assert transport.errors == {"name_not_resolved": 1}


def test_without_threads_the_caller_asks_the_resolver(receiver: socket.socket) -> None:
    """Where no thread can be started, the name is looked up all the same."""

    def refuse(function: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    transport = make_transport("localhost", receiver.getsockname()[1], run_aside=refuse)
    with closing(transport):
        assert transport.open(0.0)


def test_ipv4_comes_first() -> None:
    """Of a host with both, the IPv4 address is tried first, each address once."""
    addresses = look_up("localhost", 1)
    assert addresses[0] == (socket.AF_INET, ("127.0.0.1", 1))
    assert len(addresses) == len(set(addresses))


def test_ipv6_is_sent_to() -> None:
    """An IPv6 address is open at once, and datagrams arrive."""
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        sock.settimeout(60.0)
        transport = make_transport("::1", sock.getsockname()[1])
        with closing(transport):
            assert transport.open(0.0)
            transport.send(b"six")
            assert sock.recv(100) == b"six"
            if sys.platform == "linux":
                assert transport.path_datagram_size() == 65_488


def test_a_refusing_address_makes_way_for_the_next(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several addresses the next is tried when one refuses."""
    good, bad = receiver.getsockname(), ("127.0.0.1", unused_port())
    found = [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", address) for address in (bad, good)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    transport = make_transport("two.example")
    with closing(transport):
        open_soon(transport)
        transport.send(b"lost")
        assert failure_of(transport, b"refused").failure is SendFailure.REFUSED
        assert transport.open(time.monotonic())
        transport.send(b"arrives")
        assert receiver.recv(100) == b"arrives"


def test_the_name_is_looked_up_again_and_the_socket_replaced(receiver: socket.socket) -> None:
    """After each interval a fresh socket, with another source port, takes over."""
    transport = make_transport("127.0.0.1", receiver.getsockname()[1], resolve_interval=300.0)
    with closing(transport):
        ports = set()
        for now in (0.0, 299.0, 300.0, 600.0):
            assert transport.open(now)
            transport.send(b"x")
            ports.add(receiver.recvfrom(100)[1])
        assert len(ports) == transport.reconnects == 3


def test_a_failed_look_up_keeps_the_old_address(
    receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that is down later on does not cut the connection."""
    transport = make_transport(
        "localhost",
        receiver.getsockname()[1],
        resolve_interval=10.0,
        run_aside=lambda function: function(),
    )

    def refuse(*args: object, **options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with closing(transport):
        assert transport.open(0.0)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        assert transport.open(20.0)
        transport.send(b"still here")
        assert receiver.recv(100) == b"still here"
        assert transport.errors == {"name_not_resolved": 1}


def test_another_target_is_used_from_the_next_open_on(receiver: socket.socket) -> None:
    """`retarget` closes the socket; datagrams then go to the other receiver."""
    transport = make_transport("127.0.0.1", unused_port())
    with closing(transport):
        assert transport.open(0.0)
        transport.retarget(
            "127.0.0.1", receiver.getsockname()[1], fit_path=True, resolve_interval=None
        )
        assert transport.open(0.0)
        transport.send(b"moved")
        assert receiver.recv(100) == b"moved"


# --- failures ----------------------------------------------------------------------------------


def test_a_closed_port_refuses_every_other_datagram() -> None:
    """The kernel tells one call late: the first seems to leave, the second is refused."""
    transport = make_transport("127.0.0.1", unused_port())
    with closing(transport):
        assert transport.open(0.0)
        transport.send(b"lost")
        assert failure_of(transport, b"not sent").failure is SendFailure.REFUSED
        assert transport.errors == {"ECONNREFUSED": 1}
        transport.send(b"lost as well")


def test_a_refusal_that_was_read_is_told_at_the_next_send() -> None:
    """Looking for answers must not swallow the news that an earlier datagram was lost."""
    transport = make_transport("127.0.0.1", unused_port())
    with closing(transport):
        assert transport.open(0.0)
        transport.send(b"lost")
        assert transport.receive() is None
        assert failure_of(transport, b"not sent").failure is SendFailure.REFUSED


def test_a_datagram_that_is_too_big_is_told_with_the_size_that_is_not() -> None:
    """EMSGSIZE is TOO_BIG, and the path's size stays readable."""
    with closing(make_transport("127.0.0.1", unused_port())) as transport:
        assert transport.open(0.0)
        assert failure_of(transport, bytes(65_508)).failure is SendFailure.TOO_BIG
        if sys.platform == "linux":
            assert transport.path_datagram_size() == 65_507


@pytest.mark.parametrize(
    ("code", "failure", "is_until_writable"),
    [
        (errno.EAGAIN, SendFailure.WOULD_BLOCK, True),
        (errno.ENOBUFS, SendFailure.WOULD_BLOCK, False),
        (errno.ENOMEM, SendFailure.WOULD_BLOCK, False),
        (errno.ECONNREFUSED, SendFailure.REFUSED, False),
        (errno.EMSGSIZE, SendFailure.TOO_BIG, False),
        (errno.EPERM, SendFailure.UNREACHABLE, False),
        (errno.ENETUNREACH, SendFailure.UNREACHABLE, False),
        (errno.EHOSTUNREACH, SendFailure.UNREACHABLE, False),
        (errno.EHOSTDOWN, SendFailure.UNREACHABLE, False),
        (errno.ENETDOWN, SendFailure.UNREACHABLE, False),
        (errno.EBADF, SendFailure.UNREACHABLE, False),
    ],
)
def test_each_errno_has_a_meaning(
    transport: UDPTransport, code: int, failure: SendFailure, *, is_until_writable: bool
) -> None:
    """The core gets one of four answers, the counters the errno's own name."""
    owned = transport._owned
    assert owned is not None
    real = owned.socket
    owned.socket = Failing(real, code)  # type: ignore[assignment]  # stands for a socket
    error = failure_of(transport, b"x")
    real.close()
    assert (error.failure, error.code) == (failure, code)
    assert error.is_until_writable is is_until_writable
    assert transport.errors == {errno.errorcode[code]: 1}


def test_a_full_unix_receiver_makes_the_sender_wait(tmp_path: Path) -> None:
    """A queue of the receiver that is full is WOULD_BLOCK, and `wait` ends when there is room."""
    path = str(tmp_path / "log.sock")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(path)
        transport = make_transport(f"unix://{path}")
        with closing(transport):
            assert transport.open(0.0)
            error = None
            while error is None:
                try:
                    transport.send(b"x" * 1_000)
                except SendError as caught:
                    error = caught
            assert error.failure is SendFailure.WOULD_BLOCK
            assert error.is_until_writable
            sock.recv(2_000)
            sock.recv(2_000)
            transport.wait(5.0, readable=False, writable=True)
            transport.send(b"fits again")


# --- Unix sockets ------------------------------------------------------------------------------


def test_a_unix_socket_can_be_answered(tmp_path: Path) -> None:
    """Datagrams to a path arrive with an address to which the receiver can reply."""
    path = str(tmp_path / "log.sock")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        sock.bind(path)
        sock.settimeout(60.0)
        transport = make_transport(f"unix://{path}")
        with closing(transport):
            assert transport.open(0.0)
            transport.send(b"hello")
            datagram, address = sock.recvfrom(100)
            assert datagram == b"hello"
            if sys.platform == "linux":
                sock.sendto(b"answer", address)
                wait_until(lambda: transport.receive() == b"answer")


def test_a_unix_receiver_that_comes_back_is_found(tmp_path: Path) -> None:
    """A path without a receiver is tried again, and a new receiver there is connected to."""
    path = str(tmp_path / "log.sock")
    transport = make_transport(f"unix://{path}")
    with closing(transport):
        assert not transport.open(0.0)
        assert transport.errors == {"ENOENT": 1}
        for life in range(2):
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
                sock.bind(path)
                assert transport.open(10.0 * (life + 1))
                transport.send(b"x")
                assert sock.recv(100) == b"x"
            os.unlink(path)
            assert failure_of(transport, b"y").failure is SendFailure.UNREACHABLE


# --- descriptors -------------------------------------------------------------------------------


def test_a_foreign_file_is_neither_written_to_nor_closed(transport: UDPTransport) -> None:
    """When the descriptor's number belongs to another file, that file is left alone."""
    owned = transport._owned
    assert owned is not None
    number = owned.socket.fileno()
    victim = socket.socketpair()
    with closing(victim[1]):
        os.dup2(victim[0].fileno(), number)
        victim[0].close()
        try:
            assert transport.open(0.0)  # as each turn does
            transport.send(b"secret")
            assert transport.errors == {"EBADF": 1}
            victim[1].setblocking(False)
            with pytest.raises(BlockingIOError):
                victim[1].recv(100)
            transport.close()
            os.write(number, b"still open")
            assert victim[1].recv(100) == b"still open"
        finally:
            os.close(number)


def test_after_closing_all_descriptors_sending_goes_on(receiver: socket.socket) -> None:
    """A daemon that closes every descriptor it finds costs one datagram's retry."""
    transport = make_transport("127.0.0.1", receiver.getsockname()[1])
    with closing(transport):
        assert transport.open(0.0)
        transport.wait(0.0, readable=False, writable=False)
        owned = transport._owned
        assert owned is not None
        for number in (owned.socket.fileno(), *transport.wakeup.descriptors()):
            os.close(number)
        assert failure_of(transport, b"x").code == errno.EBADF
        assert transport.open(0.0)
        transport.send(b"y")
        assert receiver.recv(100) == b"y"
        transport.wait(0.0, readable=False, writable=False)
        transport.wakeup.send()
        began = time.monotonic()
        transport.wait(60.0, readable=False, writable=False)
        assert time.monotonic() - began < 30.0


def test_an_owned_socket_knows_when_it_is_closed() -> None:
    """A closed descriptor is not ours, and closing it again is no error."""
    owned = OwnedSocket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    assert owned.is_intact()
    owned.close()
    assert not owned.is_intact()
    owned.close()


# --- waiting -----------------------------------------------------------------------------------


def test_a_wait_ends_by_a_wake_up_from_another_thread(transport: UDPTransport) -> None:
    """`wakeup.send` ends a wait without a deadline; wake-ups from before count as well."""
    for _ in range(3):
        transport.wakeup.send()
    transport.wait(None, readable=False, writable=False)
    timer = threading.Timer(0.05, transport.wakeup.send)
    timer.start()
    transport.wait(None, readable=False, writable=False)
    timer.join()


def test_a_wait_ends_at_its_time(transport: UDPTransport) -> None:
    """Without any event the wait lasts as long as it was told; the first only opens the pair."""
    transport.wait(60.0, readable=True, writable=False)
    began = time.monotonic()
    transport.wait(0.05, readable=True, writable=False)
    assert 0.045 <= time.monotonic() - began < 30.0


def test_a_wait_ends_when_an_answer_comes(
    transport: UDPTransport, receiver: socket.socket
) -> None:
    """With `readable`, a datagram that comes in ends the wait."""
    transport.send(b"question")
    receiver.sendto(b"answer", receiver.recvfrom(100)[1])
    transport.wait(None, readable=True, writable=False)
    assert transport.receive() == b"answer"
    assert transport.receive() is None


def test_a_wait_does_without_poll(
    transport: UDPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `select.poll` was taken away, as eventlet does, `select.select` serves."""
    monkeypatch.delattr("select.poll")
    transport.wakeup.send()
    transport.wait(None, readable=True, writable=True)


def test_a_wait_without_a_descriptor_is_short_and_counted(
    transport: UDPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can wake it, so it looks again soon; it can be woken once there is a descriptor."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", refuse)
        began = time.monotonic()
        transport.wait(None, readable=False, writable=False)
        transport.wait(60.0, readable=False, writable=False)
        assert time.monotonic() - began < 30.0
    assert transport.errors == {"EMFILE": 2}
    transport.wait(60.0, readable=False, writable=False)
    transport.wakeup.send()
    transport.wait(60.0, readable=False, writable=False)
    assert time.monotonic() - began < 30.0


def test_no_thread_for_a_look_up_is_tried_again(receiver: socket.socket) -> None:
    """The sender does not wait for a resolver itself while other threads may end soon."""
    is_crowded = True

    def run_aside(function: Callable[[], None]) -> None:
        if is_crowded:
            raise RuntimeError("can't start new thread")
        function()

    transport = make_transport("localhost", receiver.getsockname()[1], run_aside=run_aside)
    with closing(transport):
        assert not transport.open(0.0)
        assert transport.errors == {"EAGAIN": 1}
        is_crowded = False
        assert not transport.open(0.05)
        assert transport.open(0.1)


def test_wake_ups_never_block() -> None:
    """More wake-ups than the pair holds are dropped: one is enough."""
    wakeup = Wakeup()
    with closing(wakeup):
        wakeup.send()  # there is nothing to wake yet
        assert wakeup.renew()
        for _ in range(100_000):
            wakeup.send()
        wakeup.clear()


def test_a_wake_up_after_the_close_is_nothing() -> None:
    """Callers may come late; they are not told."""
    wakeup = Wakeup()
    wakeup.close()
    wakeup.send()
    wakeup.clear()


def test_a_resolver_has_one_answer_per_question() -> None:
    """`take` gives each answer once, and the resolver is busy until then."""
    told: list[int] = []
    resolver = Resolver("localhost", 9, run_aside=lambda f: f(), notify=lambda: told.append(1))
    resolver.ask()
    assert resolver.is_busy
    assert resolver.take()
    assert not resolver.is_busy
    assert resolver.take() is None
    assert told == [1]
