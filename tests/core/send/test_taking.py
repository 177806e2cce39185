"""Each flush happens for the right reason, and not before; it takes what waited when it began."""

from __future__ import annotations

import pytest

from batchudp_handler.core.records.weight import LIGHT
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.taking import FLUSH_DISTANCE, Taking, TakingLimits, Trigger


@pytest.fixture
def counters() -> SenderCounters:
    return SenderCounters()


@pytest.fixture
def taking(counters: SenderCounters) -> Taking:
    return Taking(TakingLimits(batch_size=10, flush_interval=5.0, capacity=1_000), counters)


def flush(taking: Taking, now: float) -> None:
    """A flush that has taken its only record."""
    taking.begin(Trigger.FIRST, 1, now)
    assert taking.portion(100, now) == 1
    assert not taking.on_taken(1)
    taking.on_sent(now)


def test_the_first_record_leaves_at_once(taking: Taking) -> None:
    """In a quiet time one record is enough, and one is enough to wake for."""
    assert taking.wake_at(100.0) == 1
    assert taking.deadline(100.0) is None
    assert taking.due(100.0, 1, is_urgent=False) is Trigger.FIRST


def test_nothing_is_due_while_nothing_waits(taking: Taking) -> None:
    """An empty buffer is never flushed, not even by an urgent mark that is left over."""
    assert taking.due(100.0, 0, is_urgent=True) is None
    flush(taking, 100.0)
    assert taking.due(200.0, 0, is_urgent=False) is None


def test_records_gather_until_the_batch_is_full(taking: Taking) -> None:
    """After a flush, the batch size is what triggers and what wakes."""
    flush(taking, 100.0)
    later = 100.0 + FLUSH_DISTANCE
    assert taking.wake_at(later) == 10
    assert taking.due(later, 9, is_urgent=False) is None
    assert taking.due(later, 10, is_urgent=False) is Trigger.SIZE


def test_records_wait_no_longer_than_the_interval(taking: Taking) -> None:
    """The deadline is an interval after the last flush."""
    flush(taking, 100.0)
    assert taking.deadline(101.0) == 105.0
    assert taking.due(104.9, 1, is_urgent=False) is None
    assert taking.due(105.0, 1, is_urgent=False) is Trigger.TIME


def test_an_interval_without_records_begins_a_quiet_time(taking: Taking) -> None:
    """After it there is no deadline: an idle flusher is not woken."""
    flush(taking, 100.0)
    assert taking.due(105.0, 0, is_urgent=False) is None
    assert taking.deadline(105.0) is None
    assert taking.due(106.0, 1, is_urgent=False) is Trigger.FIRST


def test_an_urgent_record_does_not_wait(taking: Taking) -> None:
    """The flush level comes before every other reason."""
    flush(taking, 100.0)
    assert taking.due(100.0, 1, is_urgent=True) is Trigger.LEVEL


def test_flushes_for_size_keep_a_distance(taking: Taking) -> None:
    """Right after a flush a full batch waits a moment, unless the buffer fills up."""
    flush(taking, 100.0)
    assert taking.due(100.0, 10, is_urgent=False) is None
    assert taking.deadline(100.0) == 100.0 + FLUSH_DISTANCE
    assert taking.due(100.0, 250, is_urgent=False) is Trigger.SIZE


def test_a_batch_larger_than_the_capacity_is_cut_to_it() -> None:
    """A threshold that the buffer can never reach would never trigger."""
    taking = Taking(TakingLimits(batch_size=100, capacity=20), SenderCounters())
    flush(taking, 100.0)
    assert taking.due(101.0, 20, is_urgent=False) is Trigger.SIZE


def test_other_limits_hold_at_once(taking: Taking) -> None:
    """After `configure`, the new numbers decide."""
    flush(taking, 100.0)
    taking.configure(TakingLimits(batch_size=3, flush_interval=1.0, capacity=1_000))
    assert taking.due(100.5, 3, is_urgent=False) is Trigger.SIZE
    assert taking.deadline(100.5) == 101.0


def test_a_flush_takes_what_waited_when_it_began(taking: Taking, counters: SenderCounters) -> None:
    """In portions as the machine wants them, and counts as one batch and one time."""
    taking.begin(Trigger.SIZE, 25, 100.0)
    assert not taking.may_begin
    assert taking.portion(10, 100.0) == 10
    assert taking.on_taken(10)
    assert taking.portion(0, 100.1) == 0
    assert taking.portion(20, 100.2) == 15
    assert not taking.on_taken(15)
    taking.on_sent(100.5)
    taking.on_sent(200.0)
    assert taking.may_begin
    assert counters.flushes[Trigger.SIZE] == 1
    assert counters.batch_size.distribution().mean == 25
    times = counters.send_time.distribution()
    assert (times.count, times.mean) == (1, 0.5)


def test_records_that_callers_dropped_are_not_waited_for(taking: Taking) -> None:
    """With a full buffer the oldest go; an empty buffer ends the flush."""
    taking.begin(Trigger.SIZE, 25, 100.0)
    taking.portion(10, 100.0)
    assert not taking.on_taken(8), "fewer than there should be: no more follow at once"
    taking.portion(10, 100.0)
    assert not taking.on_taken(0)
    assert taking.owed == 0


def test_a_held_flush_does_not_begin(taking: Taking) -> None:
    """Until it is released."""
    taking.hold()
    assert not taking.may_begin
    taking.release()
    assert taking.may_begin


def test_nothing_is_begun_for_nobody(taking: Taking, counters: SenderCounters) -> None:
    """A flush without records is none."""
    taking.begin(Trigger.FLUSH, 0, 100.0)
    assert taking.deadline(100.0) is None
    assert sum(counters.flushes.values()) == 0


@pytest.mark.parametrize(
    ("capacity", "capacity_bytes", "most", "at_once"),
    [(10, 64 << 20, 10, 1 << 20), (10_000, 80_000, 80_000 // LIGHT, 10_000), (5, 1, 1, 0)],
)
def test_the_limits_follow_from_the_room(
    capacity: int, capacity_bytes: int, most: int, at_once: int
) -> None:
    """Records are bounded by number and by size; long texts are taken in parts of the room."""
    limits = TakingLimits(capacity=capacity, capacity_bytes=capacity_bytes)
    assert (limits.most_records, limits.bytes_at_once) == (most, at_once)
