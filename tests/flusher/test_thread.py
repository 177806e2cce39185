"""The sending thread sleeps when it may, wakes when it must, and survives faults."""

from __future__ import annotations

import errno
import os
import socket
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.flusher.note import LossNote
from batchudp_handler.flusher.requests import ROOM_CHECK, Request, WaitingRoom
from batchudp_handler.testing.collector import DatagramCollector
from tests.support import balance, wait_until

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from batchudp_handler.flusher.loop import Loop

LONGEST_CALL = 0.25
"""Seconds: far less than any wait for a network, far more than a busy machine's hiccups."""


def loop_of(handler: BatchUDPHandler) -> Loop:
    """The handler's loop, made if it was not yet."""
    return handler._flusher._get_loop()


def log_timed(logger: logging.Logger, number: int, pause: float = 0.001) -> float:
    """Log so many records; the longest call of the usual round of ten.

    A busy machine stops any thread for longer now and then. What waits for a network does so
    in every round.
    """
    longest = [0.0] * (number // 10)
    for each in range(number):
        began = time.perf_counter()
        logger.info("n %d", each)
        took = time.perf_counter() - began
        longest[each // 10] = max(longest[each // 10], took)
        time.sleep(pause)
    return statistics.median(longest)


# --- sleeping ----------------------------------------------------------------------------------


def test_an_idle_flusher_sleeps(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interval without records there is not one turn more (JSON has no SYNC)."""
    handler = BatchUDPHandler(*collector.address, encoding="json", flush_interval=0.1)
    logger.addHandler(handler)
    turns = 0
    turn = type(loop_of(handler)).turn

    def counting_turn(loop: Loop, now: float) -> None:
        nonlocal turns
        turns += 1
        turn(loop, now)

    monkeypatch.setattr(type(loop_of(handler)), "turn", counting_turn)
    logger.info("one")
    collector.wait_for(1)
    time.sleep(0.3)  # the interval passes
    before = turns
    time.sleep(1.0)  # the quiet time that is measured
    assert turns == before
    logger.info("two")
    collector.wait_for(2)


def test_a_busy_program_is_flushed_in_large_batches(
    logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Under load a flush takes all that has come, not just the batch size."""
    handler = BatchUDPHandler(*collector.address, batch_size=10, overflow="block")
    logger.addHandler(handler)
    for number in range(20_000):
        logger.info("n %d", number)
    assert handler.flush(60.0)
    assert handler.stats().batch_size.mean > 50
    assert len(collector.wait_for(20_000)) == 20_000


def test_a_sleeping_flusher_wakes_for_urgent_records_only_once(
    logger: logging.Logger, collector: DatagramCollector
) -> None:
    """A storm of errors leaves quickly, in few batches."""
    handler = BatchUDPHandler(
        *collector.address, batch_size=1_000_000, flush_interval=60.0, overflow="block"
    )
    logger.addHandler(handler)
    for number in range(5_000):
        logger.error("n %d", number)
    assert len(collector.wait_for(5_000, 50.0)) == 5_000
    assert handler.stats().batches < 2_500


# --- networks that fail ------------------------------------------------------------------------


def test_a_resolver_that_hangs_stops_nobody(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log calls stay quick, close keeps its bound, and what waited is counted."""
    over = threading.Event()

    def hang(*args: object, flags: int = 0, **options: object) -> list[object]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        over.wait(30.0)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    handler = BatchUDPHandler("slow.example", capacity=100, shutdown_timeout=0.3)
    logger.addHandler(handler)
    try:
        assert log_timed(logger, 200) < LONGEST_CALL
        began = time.monotonic()
        handler.close()
        assert time.monotonic() - began < 10.0
    finally:
        over.set()
    stats = handler.stats()
    assert stats.accepted == balance(stats) == 200
    assert stats.dropped == {"buffer_full": 100, "closed": 100}
    assert "200 records for slow.example:9999" in capsys.readouterr().err


def test_a_name_that_comes_into_being_is_found(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records wait while the name is unknown, and leave when it is known."""
    real = socket.getaddrinfo
    is_known = False

    def look_up(host: str, *args: Any, **options: Any) -> Any:
        if host in ("service.example", b"service.example"):
            if not is_known or options.get("flags"):
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            host = "127.0.0.1"
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    handler = BatchUDPHandler("service.example", collector.address[1])
    logger.addHandler(handler)
    assert log_timed(logger, 100) < LONGEST_CALL
    assert not handler.flush(0.2)
    is_known = True
    assert len(collector.wait_for(100)) == 100
    assert handler.stats().send_errors["name_not_resolved"] >= 1
    assert handler.flush(60.0)


def test_a_name_that_moves_is_followed(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `resolve_interval`, records go to the new address."""
    real = socket.getaddrinfo
    target = collector.address

    def look_up(host: str, port: int, *args: Any, **options: Any) -> Any:
        return real(*target, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    handler = BatchUDPHandler("service.example", resolve_interval=0.2, flush_interval=0.05)
    logger.addHandler(handler)
    logger.info("before")
    collector.wait_for(1)
    with DatagramCollector() as other:
        target = other.address
        for _ in range(200):
            logger.info("after")
            time.sleep(0.005)
            if other.records:
                break
        other.wait_for(1)
        assert handler.stats().resolves >= 2


def test_a_receiver_that_comes_late_loses_little(logger: logging.Logger) -> None:
    """Refused datagrams are sent again: a receiver that is back within the retries has it all."""
    with DatagramCollector() as first:
        host, port = first.address
    handler = BatchUDPHandler(host, port, max_retries=6)
    logger.addHandler(handler)
    assert log_timed(logger, 50) < LONGEST_CALL
    wait_until(lambda: handler.stats().send_errors.get("ECONNREFUSED"), "a refusal")
    with DatagramCollector(port=port) as collector:
        assert len(set(collector.wait_for(50))) == 50
        assert handler.stats().send_errors["ECONNREFUSED"] >= 1
        assert handler.flush(60.0)
        assert handler.stats().sent == 50


def test_a_receiver_that_never_comes_is_given_up(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `max_retries` a datagram's records are counted as dropped, and stderr is told."""
    with DatagramCollector() as gone:
        target = gone.address
    handler = BatchUDPHandler(*target, max_retries=1)
    logger.addHandler(handler)
    for number in range(50):
        logger.info("n %d", number)
    wait_until(lambda: handler.stats().waiting == 0)
    handler.close()
    stats = handler.stats()
    assert stats.accepted == balance(stats) == 50
    assert stats.retries >= 1
    if stats.sent < 50:  # a datagram before an error of the kernel's may count as sent
        assert "were lost so far: send_failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code", [errno.ENOBUFS, errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN]
)
def test_a_socket_that_fails_for_a_while_loses_nothing(
    logger: logging.Logger,
    collector: DatagramCollector,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each kind of failure is waited out, counted by name, and costs no log call any time."""
    handler = BatchUDPHandler(*collector.address, max_retries=8)
    logger.addHandler(handler)
    failures = 3
    transport = type(loop_of(handler).transport)
    checked = transport._checked

    def failing(self: Any) -> socket.socket:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(code, os.strerror(code))
        return checked(self)

    monkeypatch.setattr(transport, "_checked", failing)
    assert log_timed(logger, 100) < LONGEST_CALL
    assert handler.flush(60.0)
    assert len(set(collector.wait_for(100))) == 100
    assert handler.stats().send_errors == {errno.errorcode[code]: 3}
    assert handler.stats().sent == 100


def test_a_datagram_that_does_not_fit_is_cut_smaller(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMSGSIZE leads to smaller datagrams with the same records, none lost, none twice."""
    handler = BatchUDPHandler(*collector.address, compress=False)
    logger.addHandler(handler)
    transport = type(loop_of(handler).transport)
    checked = transport._checked

    class Narrow:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock

        def send(self, datagram: bytes) -> int:
            if len(datagram) > 1_000:
                raise OSError(errno.EMSGSIZE, "too long")
            return self.sock.send(datagram)

    monkeypatch.setattr(transport, "_checked", lambda self: Narrow(checked(self)))
    for number in range(500):
        logger.info("number %d of %s", number, "x" * 40)
    assert handler.flush(60.0)
    messages = collector.wait_for(500)
    assert len(set(messages)) == len(messages) == 500
    assert max(map(len, collector.datagrams)) <= 1_000
    assert handler.stats().max_datagram_size <= 1_000


def test_a_slow_unix_receiver_slows_the_flusher_and_nobody_else(
    logger: logging.Logger, tmp_path: Path
) -> None:
    """A full queue of the receiver is waited for: no record is lost, no log call is held."""
    path = str(tmp_path / "log.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        handler = BatchUDPHandler(
            f"unix://{path}", max_datagram_size=600, compress=False, shutdown_timeout=50.0
        )
        logger.addHandler(handler)
        assert log_timed(logger, 1_000, 0.0) < LONGEST_CALL
        wait_until(lambda: handler.stats().send_errors.get("EAGAIN"))
        sock.settimeout(60.0)
        received = 0

        def read() -> None:
            nonlocal received
            while received < handler.stats().datagrams_sent or handler.stats().sent < 1_000:
                sock.recv(1_000)
                received += 1

        reader = threading.Thread(target=read)
        reader.start()
        assert handler.flush(60.0)
        reader.join(60.0)
        assert not reader.is_alive()
        assert handler.stats().sent == 1_000
        assert handler.stats().retries == 0, "waiting for room is no failed attempt"
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 20.0, "nobody is left to say goodbye to"


def test_closing_all_descriptors_in_the_middle_is_survived(
    logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Foreign files under our old numbers stay untouched; records go on arriving."""
    handler = BatchUDPHandler(*collector.address, batch_size=1)
    logger.addHandler(handler)
    logger.info("before")
    collector.wait_for(1)
    transport = loop_of(handler).transport
    wait_until(transport.wakeup.descriptors)  # opened by the thread, at its first wait
    ours = [transport._owned, transport.wakeup._reader, transport.wakeup._writer]
    numbers = [each.socket.fileno() for each in ours if each is not None]
    assert len(numbers) == 3
    victims = [socket.socketpair() for _ in numbers]
    for number, (victim, _) in zip(numbers, victims, strict=True):
        os.dup2(victim.fileno(), number)
    try:
        for number in range(20):
            logger.info("after %d", number)
            time.sleep(0.002)
        assert handler.flush(60.0)
        assert len(set(collector.wait_for(21))) == 21
        handler.close()
        for number, (_, other) in zip(numbers, victims, strict=True):
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(100)
            os.write(number, b"still open")
            assert other.recv(100) == b"still open"
    finally:
        for number in numbers:
            os.close(number)
        for pair in victims:
            for sock in pair:
                sock.close()


# --- faults of our own, and of the system ------------------------------------------------------


def test_a_fault_in_a_turn_does_not_end_the_thread(
    logger: logging.Logger,
    collector: DatagramCollector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is counted, told once, and the next record is shipped."""
    monkeypatch.setattr("batchudp_handler.flusher.faults.FIRST_PAUSE", 0.01)
    handler = BatchUDPHandler(*collector.address)
    logger.addHandler(handler)
    sender = loop_of(handler).session.own
    faults = 3
    handle_timeout = sender.handle_timeout

    def failing(now: float) -> None:
        nonlocal faults
        if faults:
            faults -= 1
            raise ZeroDivisionError("a mistake of ours")
        handle_timeout(now)

    monkeypatch.setattr(sender, "handle_timeout", failing)
    logger.info("one")
    assert collector.wait_for(1) == ["one"]
    assert handler.stats().send_errors == {"internal_ZeroDivisionError": 3}
    assert capsys.readouterr().err.count("a mistake of ours") == 1


def test_a_batch_that_the_machine_refuses_is_counted(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while a batch is taken costs that batch, and the numbers still add up."""
    monkeypatch.setattr("batchudp_handler.flusher.faults.FIRST_PAUSE", 0.01)
    handler = BatchUDPHandler(*collector.address)
    logger.addHandler(handler)
    sender = loop_of(handler).session.own
    send_batch = sender.send_batch

    def failing(*args: Any, **more: Any) -> None:
        monkeypatch.setattr(sender, "send_batch", send_batch)
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(sender, "send_batch", failing)
    logger.info("lost")
    wait_until(lambda: handler.stats().dropped.get("internal_error") == 1)
    logger.info("shipped")
    assert handler.flush(60.0)
    assert collector.wait_for(1) == ["shipped"]
    stats = handler.stats()
    assert stats.accepted == balance(stats) == 2


def test_a_fault_that_stays_does_not_hold_the_close(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if every turn fails, `close` returns within its bound."""
    handler = BatchUDPHandler(*collector.address, shutdown_timeout=0.3)
    logger.addHandler(handler)

    def failing(now: float) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(loop_of(handler).session.own, "handle_timeout", failing)
    logger.info("one")
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 10.0


def test_while_no_thread_starts_records_wait(
    logger: logging.Logger,
    collector: DatagramCollector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The caller sends the first, or at a flush; between attempts records wait, then all leave."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    monkeypatch.setattr("batchudp_handler.flusher.thread.FIRST_START_DELAY", 3_600.0)
    handler = BatchUDPHandler(*collector.address)
    handler._flusher._clock = clock
    logger.addHandler(handler)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for number in range(20):
            logger.info("n %d", number)
        assert collector.wait_for(1) == ["n 0"]
        assert handler.stats().waiting == 19
        assert handler.flush(60.0)
        assert len(collector.wait_for(20)) == 20
    logger.info("too early")
    assert "batchudp-flusher" not in {thread.name for thread in threading.enumerate()}
    clock.added = 3_600.0
    logger.info("by the thread")
    assert handler.flush(60.0)
    collector.wait_for(22)
    assert "batchudp-flusher" in {thread.name for thread in threading.enumerate()}
    stats = handler.stats()
    assert stats.sent == balance(stats) == 22
    assert stats.send_errors == {"thread_not_started": 1}
    assert capsys.readouterr().err.count("can't start new thread") == 1


class Clock:
    """Real time, and what a test adds to it."""

    added = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.added


def test_without_threads_a_close_sends_and_says_goodbye(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller of `close` does the thread's work to the end."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    handler = BatchUDPHandler(*collector.address)
    logger.addHandler(handler)
    logger.info("one")
    handler.close()
    monkeypatch.undo()
    collector.wait_for(1)
    collector.wait_until(lambda: any(sync.closing for _, sync in collector.syncs))


def test_a_flush_from_the_flusher_itself_does_not_wait(
    logger: logging.Logger, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that runs there, such as a destructor, gets a no instead of a deadlock."""
    handler = BatchUDPHandler(*collector.address)
    logger.addHandler(handler)
    transport = type(loop_of(handler).transport)
    send = transport.send
    answers: list[bool] = []

    def flushing_send(self: Any, datagram: bytes) -> None:
        answers.append(handler.flush(5.0))
        send(self, datagram)

    monkeypatch.setattr(transport, "send", flushing_send)
    logger.info("one")
    assert handler.flush(60.0)
    assert answers
    assert not any(answers)


def test_what_is_no_answer_is_counted_by_reason(logger: logging.Logger) -> None:
    """Strangers' datagrams show in the stats of a handler that waits for answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.settimeout(60.0)
        handler = BatchUDPHandler(
            *stranger.getsockname(), delivery="acknowledged", shutdown_timeout=0.1
        )
        logger.addHandler(handler)
        logger.info("one")
        _, sender = stranger.recvfrom(2_000)
        stranger.sendto(b"no answer", sender)
        wait_until(lambda: sum(handler.stats().ignored.values()) == 1)
        handler.close()


# --- parts -------------------------------------------------------------------------------------


def test_a_request_lets_all_its_callers_go() -> None:
    """Any number of threads may wait; the first answer counts."""
    request = Request(time.monotonic() + 60.0)
    answers: list[bool] = []
    callers = [
        threading.Thread(target=lambda: answers.append(request.wait(60.0))) for _ in range(5)
    ]
    for caller in callers:
        caller.start()
    request.finish(is_granted=True)
    request.finish(is_granted=False)
    for caller in callers:
        caller.join(60.0)
    assert answers == [True] * 5
    assert not Request(0.0).wait(0.0)


@pytest.mark.parametrize("line", range(1, 5))
def test_one_of_two_finishes_a_request(line: int) -> None:
    """One answer counts, also when the second comes before any line of the first."""
    request = Request(0.0)
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal lines
        if frame.f_code is not Request.finish.__code__:
            return None
        lines += event == "line"
        if event == "line" and lines == line:
            request.finish(is_granted=True)
        return trace

    sys.settrace(trace)
    try:
        request.finish(is_granted=True)  # releasing a lock twice would raise
    finally:
        sys.settrace(None)
    assert request.wait(0.0)
    assert lines


def test_a_waiting_room_opens_for_all() -> None:
    """Whoever waits looks again when it is opened, and leaves when there is room."""
    room = WaitingRoom(time.monotonic)
    has_room = False
    answers: list[bool] = []

    def wait() -> None:
        answers.append(room.wait(lambda: has_room, lambda: None, 5.0))

    callers = [threading.Thread(target=wait) for _ in range(3)]
    for caller in callers:
        caller.start()
    has_room = True
    room.open()
    for caller in callers:
        caller.join(60.0)
    assert answers == [True] * 3
    assert not room.wait(lambda: False, lambda: None, 0.01)


def test_who_has_no_room_is_left_to_wait() -> None:
    """A caller that looks in vain wakes the flusher; opening for nobody must not make it look."""
    room = WaitingRoom(time.monotonic)
    wakes: list[float] = []
    has_room = False
    caller = threading.Thread(
        target=room.wait, args=(lambda: has_room, lambda: wakes.append(time.monotonic()), 60.0)
    )
    began = time.monotonic()
    caller.start()
    while not wakes:
        time.sleep(0.001)
    for _ in range(200):
        room.open()
        time.sleep(0.001)
    assert len(wakes) <= 2 + (time.monotonic() - began) / ROOM_CHECK

    has_room = True
    room.open()
    caller.join(60.0)
    assert not caller.is_alive()


def test_losses_are_told_at_once_and_then_rarely(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first loss makes a line, later ones a line each half minute, the last one at the end."""
    note = LossNote(lambda: ("host", 9), lambda: "")
    note.tell({"relay": 5, "self_log": 1}, 0.0)
    for second in range(60):
        note.tell({"buffer_full": 1 + second, "relay": 5}, float(second))
    note.tell_last({"buffer_full": 60, "closed": 2}, 60.0)
    note.tell_last({"buffer_full": 60, "closed": 2}, 90.0)
    assert capsys.readouterr().err.splitlines() == [
        "batchudp-handler: 1 records for host:9 were lost so far: buffer_full 1",
        "batchudp-handler: 31 records for host:9 were lost so far: buffer_full 31",
        "batchudp-handler: 62 records for host:9 were lost so far: buffer_full 60, closed 2",
    ]
    for stream in (None, object()):
        monkeypatch.setattr(sys, "stderr", stream)
        note.tell_last({"closed": 100}, 200.0)


def test_the_line_says_why_and_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    """The latest error in words, and the command that examines that very target."""
    for host, port in (("::1", 9), ("unix:///run/log.sock", 9)):
        note = LossNote(lambda host=host, port=port: (host, port), lambda: "nobody listens")  # type: ignore[misc]  # bound now
        note.tell_last({"closed": 3}, 0.0)
    address, path = capsys.readouterr().err.splitlines()
    lost = "were lost so far: closed 3; nobody listens. To find the cause: batchudp-send --doctor"
    assert address.endswith(f"3 records for [::1]:9 {lost} --target-host ::1 --target-port 9")
    name = "unix:///run/log.sock"
    assert path.endswith(f"3 records for {name} {lost} --target-host {name}")
