"""The times of SYNCs: probes, trains, the heartbeat and the distance between two."""

from __future__ import annotations

from itertools import pairwise

import pytest

from batchudp_handler.core.send.sync_schedule import SyncSchedule


def probe_times(schedule: SyncSchedule, until: float) -> list[float]:
    times = []
    while schedule.at is not None and schedule.at <= until:
        times.append(schedule.at)
        schedule.on_sent(schedule.at)
    return times


def test_probes_come_often_at_first() -> None:
    """For five seconds never more than 0.9 s apart, whatever the jitter."""
    schedule = SyncSchedule(lambda: 1.0)
    schedule.probe(0.0)
    times = probe_times(schedule, 5.0)
    assert times[0] == 0.0
    assert max(b - a for a, b in pairwise(times)) < 0.9


def test_probes_end_at_ten_seconds_apart() -> None:
    """A receiver that is away for an hour is asked some four hundred times, with three SYNCs."""
    schedule = SyncSchedule(lambda: 0.5)
    schedule.probe(0.0)
    times = probe_times(schedule, 3600.0)
    assert 360 <= sum(b - a > 0.1 for a, b in pairwise(times)) <= 400
    assert max(b - a for a, b in pairwise(times)) < 10.1


def test_later_probes_come_in_threes() -> None:
    """A burst that lasts for so many datagrams ends soon; the first two are single."""
    schedule = SyncSchedule(lambda: 0.5)
    schedule.probe(0.0)
    first, second, *others = probe_times(schedule, 10.0)
    assert (first, second) == pytest.approx((0.0, 0.2))
    trains = [others[at : at + 3] for at in range(0, len(others) - 2, 3)]
    assert len(trains) > 5
    for one, two, three in trains:
        assert (two - one, three - two) == pytest.approx((0.05, 0.05))
    assert all(after[0] - before[2] > 0.5 for before, after in pairwise(trains))


def test_an_answer_ends_a_row_of_probes() -> None:
    """After it the next SYNC is the heartbeat; another silence begins with single ones again."""
    schedule = SyncSchedule(lambda: 0.5)
    schedule.probe(0.0)
    assert probe_times(schedule, 0.61)[-1] == pytest.approx(0.6)
    schedule.beat(0.62)
    assert probe_times(schedule, 12.0) == pytest.approx([10.62])
    schedule.probe(20.0)
    assert probe_times(schedule, 20.61) == pytest.approx([20.0, 20.2, 20.6])


def test_jitter_is_a_quarter_either_way() -> None:
    """Senders that lost the same receiver do not ask in step."""
    waits = []
    for draw in (0.0, 1.0):
        schedule = SyncSchedule(lambda draw=draw: draw)  # type: ignore[misc]  # a bound default
        schedule.probe(0.0)
        schedule.on_sent(0.0)
        waits.append(schedule.at)
    assert waits == [pytest.approx(0.15), pytest.approx(0.25)]


def test_two_syncs_are_at_least_50_ms_apart() -> None:
    """Challenges in a row are answered once."""
    schedule = SyncSchedule(lambda: 0.5)
    schedule.probe(1.0)
    schedule.on_sent(1.0)
    schedule.soon()
    assert schedule.at == 1.05


def test_heartbeat() -> None:
    """While all is well, every ten seconds."""
    schedule = SyncSchedule(lambda: 0.5)
    schedule.probe(0.0)
    schedule.on_sent(0.0)
    schedule.beat(0.1)
    assert not schedule.is_probing()
    assert probe_times(schedule, 40.0) == pytest.approx([10.1, 20.1, 30.1])


def test_a_sync_is_due_from_its_time_on() -> None:
    """Before the first question there is none."""
    schedule = SyncSchedule(lambda: 0.5)
    assert not schedule.is_due(1e9)
    schedule.by(2.0)
    assert [schedule.is_due(now) for now in (1.9, 2.0, 2.1)] == [False, True, True]


def test_the_age_of_the_last_sync() -> None:
    """What was never sent is older than anything."""
    schedule = SyncSchedule(lambda: 0.5)
    assert schedule.is_older_than(1e9, 0.0)
    schedule.on_sent(10.0)
    assert not schedule.is_older_than(1.0, 11.0)
    assert schedule.is_older_than(1.0, 11.1)


@pytest.mark.parametrize(("is_probing", "next_at"), [(True, 5.2), (False, 6.0)])
def test_a_refused_sync_is_tried_again(is_probing: bool, next_at: float) -> None:
    """Sooner where an answer is missing."""
    schedule = SyncSchedule(lambda: 0.5)
    if is_probing:
        schedule.probe(5.0)
    schedule.on_refused(5.0)
    assert schedule.at == pytest.approx(next_at)
