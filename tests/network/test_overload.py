"""What is dropped is what the policy says, counted to the record, and told to those concerned."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.receiver import receive_socket
from tests.network.support import PATIENCE, Calls, Far, Names
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "service.example"
CAPACITY = 100
EXTRA = 200
SLOW = 0.05
"""Seconds that an overloaded machine holds a caller who asked to be held."""


@pytest.fixture
def stuck(calls: Calls, names: Names) -> Callable[..., BatchUDPHandler]:
    """A handler from which nothing leaves until its host's name is known."""
    names.answers[HOST] = None

    def make(**settings: Any) -> BatchUDPHandler:
        defaults = {"capacity": CAPACITY, "shutdown_timeout": 0.3}
        handler = BatchUDPHandler(HOST, **{**defaults, **settings})
        calls.logger.addHandler(handler)
        return handler

    return make


def numbers_of(far: Far) -> list[int]:
    """Which of the numbered records have come."""
    return [int(message.split()[1]) for message in far.messages]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_drops_are_exact_and_told_to_all(
    stuck: Callable[..., BatchUDPHandler],
    calls: Calls,
    names: Names,
    overflow: str,
    settle: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The policy's end of the queue goes; stats, stderr and the receiver say how many."""
    handler = stuck(overflow=overflow)
    calls.log(CAPACITY + EXTRA, pause=0.0)
    assert handler.stats().dropped == {"buffer_full": EXTRA}
    told = _next_lines(capsys)
    with caplog.at_level(logging.WARNING, "batchudp.receiver"), Far() as far:
        names.answers[HOST] = [("127.0.0.1", far.port)]
        far.wait_for(CAPACITY)
        wait_until(lambda: far.receiver.stats().sender_dropped == EXTRA)
        first = EXTRA if overflow == "drop_oldest" else 0
        assert numbers_of(far) == list(range(first, first + CAPACITY))
        row = settle(f"overload, {overflow}", calls, far.messages)
        handler.close()
        wait_until(lambda: f"{EXTRA} records dropped by their senders" in caplog.text)
    assert (row.lost, row.duplicated) == (EXTRA, 0)
    stats = handler.stats()
    assert stats.accepted == balance(stats) == CAPACITY + EXTRA
    # at once, when a part of them may be dropped, and the rest of them at the end
    told += capsys.readouterr().err.splitlines()
    assert len(told) <= 2
    assert int(told[-1].split()[1]) == EXTRA


def _next_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is written to stderr next."""
    lines: list[str] = []

    def has_come() -> bool:
        lines.extend(capsys.readouterr().err.splitlines())
        return bool(lines)

    wait_until(has_come)
    return lines


def test_further_drops_are_told_at_the_end(
    stuck: Callable[..., BatchUDPHandler], calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often the buffer overflows, there is a line at once and one with the total."""
    handler = stuck()
    for _ in range(10):
        calls.log(CAPACITY, pause=0.0)
        time.sleep(0.03)  # in which the flusher, awake for look-ups, may have turned
    handler.close()
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 2
    total = 10 * CAPACITY
    dropped = total - CAPACITY
    assert lines[-1].startswith(
        f"batchudp-handler: {total} records for {HOST}:9999 were lost so far: "
        f"buffer_full {dropped}, closed {CAPACITY}; the name {HOST} "
    )
    assert calls.is_quick


def test_silence_where_logging_is_told_to_be_silent(
    stuck: Callable[..., BatchUDPHandler],
    calls: Calls,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without `logging.raiseExceptions` the drops are counted and stderr stays empty."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = stuck()
    calls.log(CAPACITY + EXTRA, pause=0.0)
    handler.close()
    assert handler.stats().dropped == {"buffer_full": EXTRA, "closed": CAPACITY}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_a_reserve_for_what_matters(
    stuck: Callable[..., BatchUDPHandler],
    calls: Calls,
    names: Names,
    overflow: str,
    settle: Callable[..., Any],
) -> None:
    """With `protect_level`, a flood of INFO leaves a fifth of the room to WARNING and above."""
    stuck(overflow=overflow, protect_level="WARNING")
    reserve = CAPACITY // 5
    calls.log(CAPACITY + EXTRA, pause=0.0)
    first_warning = calls.logged
    calls.log(reserve, pause=0.0, level=logging.WARNING)
    calls.log(EXTRA, pause=0.0)
    with Far() as far:
        names.answers[HOST] = [("127.0.0.1", far.port)]
        far.wait_for(CAPACITY)
        wait_until(lambda: far.receiver.stats().sender_dropped == 2 * EXTRA + reserve)
        row = settle(f"overload with protect_level, {overflow}", calls, far.messages)
        warnings = [r for r in far.records if r.levelno == logging.WARNING]
        assert len(warnings) == reserve
        assert set(range(first_warning, first_warning + reserve)) <= set(numbers_of(far))
    assert (row.lost, row.duplicated) == (2 * EXTRA + reserve, 0)


def test_without_a_protected_level_all_are_equal(
    stuck: Callable[..., BatchUDPHandler], calls: Calls, names: Names
) -> None:
    """It is off by default: a later flood of INFO pushes out the warnings."""
    stuck()
    calls.log(10, pause=0.0, level=logging.WARNING)
    calls.log(CAPACITY, pause=0.0)
    with Far() as far:
        names.answers[HOST] = [("127.0.0.1", far.port)]
        far.wait_for(CAPACITY)
        assert {record.levelno for record in far.records} == {logging.INFO}


def test_block_holds_callers_and_loses_nothing(
    stuck: Callable[..., BatchUDPHandler], calls: Calls, names: Names, settle: Callable[..., Any]
) -> None:
    """The caller waits until there is room, and every record arrives."""
    handler = stuck(overflow="block", overflow_timeout=None)
    calls.log(CAPACITY, pause=0.0)
    assert calls.is_quick
    more = Calls(calls.logger)
    more.logged = calls.logged
    held = threading.Thread(target=more.log, args=(EXTRA,), kwargs={"pause": 0.0}, daemon=True)
    held.start()
    time.sleep(SLOW)
    assert held.is_alive()
    assert more.logged == CAPACITY
    with Far() as far:
        names.answers[HOST] = [("127.0.0.1", far.port)]
        held.join(PATIENCE)
        assert not held.is_alive()
        assert handler.flush(PATIENCE)
        calls.logged = more.logged
        far.wait_for(CAPACITY + EXTRA)
        row = settle("overload, block", calls, far.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    assert handler.stats().dropped == {}


@pytest.mark.parametrize("is_old_kernel", [False, True])
def test_the_kernel_says_what_it_dropped(
    is_old_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the datagram, also where only the counter that comes with the next one says it."""
    if is_old_kernel:
        monkeypatch.setattr("batchudp_handler.platform._SO_MEMINFO", 9_999)  # as before Linux 4.12
    received = receive_socket.ReceiveSocket(
        "127.0.0.1", 0, receive_buffer=4_096, buffer_size=2_000
    )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(received.address)
            for _ in range(200):
                sender.send(bytes(1_000))
            kept = len(received.receive(1_000))
            assert 0 < kept < 200
            sender.send(b"the next one")
            assert [data for data, _ in received.receive(10)] == [b"the next one"]
        assert received.kernel_drops() == 200 - kept
    finally:
        received.close()
