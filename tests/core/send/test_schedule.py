"""Does each flush happen for the right reason, and not before?"""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.schedule import FLUSH_DISTANCE, Schedule, Trigger


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(batch_size=10, flush_interval=5.0, capacity=1_000)


def test_the_first_record_leaves_at_once(schedule: Schedule) -> None:
    """In a quiet time one record is enough, and one is enough to wake for."""
    assert schedule.wake_at(100.0) == 1
    assert schedule.deadline(100.0) is None
    assert schedule.due(100.0, 1, urgent=False) is Trigger.FIRST


def test_nothing_is_due_while_nothing_waits(schedule: Schedule) -> None:
    """An empty buffer is never flushed, not even by an urgent mark that is left over."""
    assert schedule.due(100.0, 0, urgent=True) is None
    schedule.on_flush(100.0)
    assert schedule.due(200.0, 0, urgent=False) is None


def test_records_gather_until_the_batch_is_full(schedule: Schedule) -> None:
    """After a flush, the batch size is what triggers and what wakes."""
    schedule.on_flush(100.0)
    later = 100.0 + FLUSH_DISTANCE
    assert schedule.wake_at(later) == 10
    assert schedule.due(later, 9, urgent=False) is None
    assert schedule.due(later, 10, urgent=False) is Trigger.SIZE


def test_records_wait_no_longer_than_the_interval(schedule: Schedule) -> None:
    """The deadline is an interval after the last flush."""
    schedule.on_flush(100.0)
    assert schedule.deadline(101.0) == 105.0
    assert schedule.due(104.9, 1, urgent=False) is None
    assert schedule.due(105.0, 1, urgent=False) is Trigger.TIME


def test_an_interval_without_records_begins_a_quiet_time(schedule: Schedule) -> None:
    """After it there is no deadline: an idle flusher is not woken."""
    schedule.on_flush(100.0)
    assert schedule.due(105.0, 0, urgent=False) is None
    assert schedule.deadline(105.0) is None
    assert schedule.due(106.0, 1, urgent=False) is Trigger.FIRST


def test_an_urgent_record_does_not_wait(schedule: Schedule) -> None:
    """The flush level comes before every other reason."""
    schedule.on_flush(100.0)
    assert schedule.due(100.0, 1, urgent=True) is Trigger.LEVEL


def test_flushes_for_size_keep_a_distance(schedule: Schedule) -> None:
    """Right after a flush a full batch waits a moment, unless the buffer fills up."""
    schedule.on_flush(100.0)
    assert schedule.due(100.0, 10, urgent=False) is None
    assert schedule.deadline(100.0) == 100.0 + FLUSH_DISTANCE
    assert schedule.due(100.0, 250, urgent=False) is Trigger.SIZE


def test_a_batch_larger_than_the_capacity_is_cut_to_it() -> None:
    """A threshold that the buffer can never reach would never trigger."""
    schedule = Schedule(batch_size=100, flush_interval=5.0, capacity=20)
    schedule.on_flush(100.0)
    assert schedule.due(101.0, 20, urgent=False) is Trigger.SIZE


def test_other_limits_hold_at_once(schedule: Schedule) -> None:
    """After `configure`, the new numbers decide."""
    schedule.on_flush(100.0)
    schedule.configure(batch_size=3, flush_interval=1.0, capacity=1_000)
    assert schedule.due(100.5, 3, urgent=False) is Trigger.SIZE
    assert schedule.deadline(100.5) == 101.0
