"""A fault of our own, at any seam of a turn, pauses the sending thread and costs little else."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.flusher import faults
from batchudp_handler.flusher.faults import Faults, SpinningError
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batchudp_handler.testing.collector import DatagramCollector


SEAMS = [
    *(f"transport.{name}" for name in ("open", "send", "receive", "wait", "path_datagram_size")),
    *("transport.close", "transport.wakeup.renew", "transport.wakeup.clear"),
    *(f"session.own.{name}" for name in ("handle_timeout", "datagram_to_send", "send_batch")),
    *(f"session.own.{name}" for name in ("note_dropped", "on_datagram_sent", "next_timeout")),
    *(f"session.own.{name}" for name in ("set_max_datagram_size", "close", "give_up")),
    *(f"session.taking.{name}" for name in ("due", "begin", "deadline", "wake_at", "release")),
    *(f"session.{name}" for name in ("begin_flush", "begin_close", "begin_leaving", "give_up")),
    *(f"session.{name}" for name in ("on_path", "on_lost", "records_to_take", "trouble")),
    *("session.finish_close", "session.end_turn"),
    *("session.counters.batch_size.add", "session.counters.send_time.add"),
    *("turn", "sleep", "give_up", "close", "trouble", "disk.turn", "disk.close"),
    *("_wall", "buffer.drain", "buffer.configure"),
    *("flusher._note.is_due", "flusher._ledger.lost", "flusher._apply_changes"),
    *("flusher._requests.finish", "flusher._is_over", "flusher._requests.next_deadline"),
]
"""What a turn of the sending thread calls, from the loop, or from the flusher that has it."""
CAN_COST_A_BATCH = {"session.own.send_batch"}
"""Where records are between two owners when it happens."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(faults, "LAST_PAUSE", 0.08)


class Fault:
    """Makes one method of a handler's insides raise, while it is on."""

    def __init__(self, handler: BatchUDPHandler, seam: str, patch: pytest.MonkeyPatch) -> None:
        flusher = handler._flusher
        *path, name = seam.split(".")
        owner: Any = flusher._get_loop()
        for step in path:
            owner = flusher if step == "flusher" else getattr(owner, step)
        self._real = getattr(owner, name)
        self.left = 0
        self.raised = 0
        patch.setattr(type(owner), name, self._call_of(owner, name), raising=True) if hasattr(
            type(owner), "__slots__"
        ) and not hasattr(owner, "__dict__") else patch.setattr(owner, name, self)

    def _call_of(self, owner: Any, name: str) -> Callable[..., Any]:
        real = getattr(type(owner), name)

        def call(one: Any, *args: Any, **keywords: Any) -> Any:
            if one is owner:
                return self(*args, **keywords)
            return real(one, *args, **keywords)

        return call

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            self.raised += 1
            raise LookupError("a fault of the test")
        return self._real(*args, **keywords)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("near", logging.INFO, "p.py", 1, text, (), None)


def make(collector: DatagramCollector, **settings: Any) -> BatchUDPHandler:
    handler = BatchUDPHandler(*collector.address, flush_interval=0.05, **settings)
    handler.handle(record("warm"))
    if settings.get("delivery") == "acknowledged":
        wait_until(lambda: handler.stats().datagrams_sent)  # nobody will answer
    else:
        assert handler.flush(30.0)
    return handler


def settings_for(seam: str, tmp_path: Path) -> dict[str, Any]:
    if seam.startswith("disk") or seam == "transport.receive":
        return {"delivery": "acknowledged", "spool_directory": str(tmp_path)}
    return {}


@pytest.mark.parametrize("times", [1, 1_000_000])
@pytest.mark.parametrize("seam", SEAMS)
def test_a_fault_at_every_seam(
    seam: str, times: int, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The thread lives and does not spin, what comes later arrives, and the numbers add up."""
    settings = settings_for(seam, tmp_path)
    handler = make(collector, shutdown_timeout=1.0, **settings)
    thread = handler._flusher._thread_ident
    fault = Fault(handler, seam, monkeypatch)
    fault.left = times
    handler.handle(record("during"))
    end = time.monotonic() + 0.3
    wait_until(lambda: time.monotonic() > end or (fault.raised and times == 1))
    assert fault.raised < 100, "it spins"
    fault.left = 0
    handler.handle(record("after"))
    if not settings:
        assert handler.flush(30.0)
        wait_until(lambda: "after" in collector.messages)
        if seam not in CAN_COST_A_BATCH:
            assert set(collector.messages) == {"warm", "during", "after"}
    assert handler._flusher._thread_ident == thread
    handler.close()
    handler._flusher._get_loop().close()  # as far as the fault was in that
    stats = handler.stats()
    assert balance(stats) == stats.accepted == 3
    assert stats.waiting == 0
    if fault.raised:
        assert stats.send_errors.get("internal_LookupError", 0) >= 1
        assert capsys.readouterr().err.count("a fault of the test") == 1


@pytest.mark.parametrize("seam", SEAMS)
def test_a_close_during_a_fault(
    seam: str, collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The first `close` returns in its time, counts all that it leaves, and says it."""
    settings = settings_for(seam, tmp_path)
    handler = make(collector, shutdown_timeout=0.3, **settings)
    fault = Fault(handler, seam, monkeypatch)
    fault.left = 1_000_000
    for number in range(20):
        handler.handle(record(f"n {number}"))
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 10.0
    assert fault.raised < 100, "it spins"
    fault.left = 0
    handler._flusher._get_loop().close()  # as far as the fault was in that
    stats = handler.stats()
    assert balance(stats) == stats.accepted == 21
    lost, told = sum(stats.dropped.values()), capsys.readouterr().err
    assert not lost or f"{lost} records for" in told
    left = stats.waiting + stats.retained
    assert not left or (seam == "buffer.drain" and f"{left} records were not sent" in told)


def test_a_wait_that_returns_at_once_is_no_spin(
    collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns without work are noticed, and paused as any fault is."""
    handler = make(collector)
    loop = handler._flusher._get_loop()
    turns = 0
    turn = loop.turn

    def counting(now: float) -> None:
        nonlocal turns
        turns += 1
        turn(now)

    with monkeypatch.context() as patch:
        patch.setattr(faults, "LAST_PAUSE", 60.0)
        patch.setattr(faults, "QUICK", 1.0)  # coverage makes a turn take longer than usual
        patch.setattr(loop, "turn", counting)
        patch.setattr(loop.transport, "wait", lambda *args, **keywords: None)
        handler.handle(record("during"))
        wait_until(lambda: handler.stats().send_errors.get("internal_SpinningError"))
        seen = turns
        end = time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > end)
        assert turns - seen < 30 * faults.SPIN
    handler.handle(record("after"))
    assert handler.flush(30.0)
    handler.close()
    assert set(collector.wait_for(3)) == {"warm", "during", "after"}


def test_what_ends_a_thread_is_followed_by_another(
    collector: DatagramCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SystemExit` and the like end the thread; the next record starts a new one."""
    handler = make(collector)
    loop = handler._flusher._get_loop()
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def ending(now: float) -> None:
        raise GeneratorExit

    with monkeypatch.context() as patch:
        patch.setattr(loop, "turn", ending)
        handler.handle(record("during"))
        wait_until(lambda: not handler._flusher._is_running)
    handler.handle(record("after"))
    assert set(collector.wait_for(3)) == {"warm", "during", "after"}
    handler.close()


def test_pauses_grow_while_a_fault_lasts_and_start_anew_later() -> None:
    """One fault soon after another doubles the pause; one much later is a first."""
    pauses = Faults(lambda error: None)
    now = 100.0
    seen = []
    for _ in range(5):
        seen.append(pauses.handle(ValueError(), now))
        now += seen[-1] + 0.001
    assert seen == [0.02, 0.04, 0.08, 0.08, 0.08]
    assert pauses.handle(ValueError(), now + 1.0) == 0.02


def test_turns_with_work_or_with_time_between_them_are_no_spin() -> None:
    """Only quick turns in which nothing happened count."""
    pauses = Faults(lambda error: None)
    for number in range(5 * faults.SPIN):
        pauses.watch(number, 1.0)
    for number in range(5 * faults.SPIN):
        pauses.watch(0, 2.0 + number * 2 * faults.QUICK)
    for _ in range(faults.SPIN):
        pauses.watch(0, 1e6)
    with pytest.raises(SpinningError):
        pauses.watch(0, 1e6)
