"""The small clocks of the sending machine: probes, SYNCs, retries, and the search for a size."""

from __future__ import annotations

from itertools import pairwise

import pytest

from batchudp_handler.core.send.black_hole import BlackHoleDetector
from batchudp_handler.core.send.probe_timer import ProbeTimer
from batchudp_handler.core.send.retry import SendFailure, backoff, smaller_datagram_size
from batchudp_handler.core.send.rtt import RttEstimator
from batchudp_handler.core.send.sync_schedule import SyncSchedule


def timer() -> ProbeTimer:
    rtt = RttEstimator()
    for _ in range(100):
        rtt.add_sample(0.09)
    return ProbeTimer(rtt)


def test_the_probe_timer_doubles_until_there_is_progress() -> None:
    """Expiries double the wait, any answer ends the silence, only progress ends the backoff."""
    probe = timer()
    probe.restart(0.0)
    assert probe.time == pytest.approx(0.1)
    probe.on_expired(0.1)
    assert probe.time == pytest.approx(0.1 + 0.2)
    probe.on_heard()
    assert probe.is_backed_off
    assert probe.silent_expiries == 0
    probe.on_progress(0.2)
    assert not probe.is_backed_off
    assert probe.time == pytest.approx(0.3)


def test_silence_needs_probes_and_seconds() -> None:
    """Five probes in vain within a second are no silence, nor are five seconds without a probe."""
    probe = timer()
    probe.on_sent(0.0)
    for _ in range(5):
        probe.on_expired(0.5)
    assert not probe.is_silent(4.9)
    assert probe.is_silent(5.1)
    probe.on_heard()
    probe.on_sent(6.0)
    assert not probe.is_silent(60.0)


def test_silence_counts_from_the_first_unanswered_datagram() -> None:
    """An idle hour before it is no silence."""
    probe = timer()
    probe.on_sent(3600.0)
    for _ in range(9):
        probe.on_expired(3601.0)
    assert not probe.is_silent(3604.0)
    assert probe.is_silent(3605.1)


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


def test_backoff_is_capped_and_jittered() -> None:
    """0.1 s doubled, 2 s at most, 0.8 to 1.2 of it."""
    assert [backoff(n, lambda: 0.5) for n in (1, 2, 3, 4, 5, 6, 99)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    )
    assert backoff(1, lambda: 0.0) == pytest.approx(0.08)
    assert backoff(99, lambda: 1.0) == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("refused", "told", "size"),
    [
        (65_507, 1_472, 1_472),
        (65_507, None, 8_932),
        (1_472, 1_472, 1_432),
        (1_400, 1_472, 1_200),
        (1_000, 20, 548),
        (130, None, 128),
    ],
)
def test_a_smaller_size(refused: int, told: int | None, size: int) -> None:
    """What the socket says if it is smaller, else the next common size; never the same again."""
    assert smaller_datagram_size(refused, told) == size


def test_kinds_of_failure() -> None:
    """The counters are named after them."""
    assert {each.value for each in SendFailure} == {
        "would_block", "refused", "too_big", "unreachable",
    }  # fmt: skip


def rounds(
    detector: BlackHoleDetector, count: int, credit: int = 1000, size: int = 1_400
) -> float:
    now = 0.0
    for _ in range(count):
        detector.on_sent(size, now)
        detector.on_answer(credit)
        now += 0.3
    return now


def test_a_black_hole_takes_rounds_answers_and_time() -> None:
    """Nine rounds with answers: suspected; eight: not yet."""
    detector = BlackHoleDetector()
    assert detector.suspected_size(rounds(detector, 8)) is None
    detector.on_sent(1_400, 2.4)
    assert detector.suspected_size(2.4) == 1_200


@pytest.mark.parametrize(
    ("size", "fallback"), [(1_400, 1_200), (1_200, 548), (950, 548), (548, 256), (300, 256)]
)
def test_the_largest_size_that_was_not_tried_in_vain(size: int, fallback: int) -> None:
    """Of what was sent so far, a datagram of that size may arrive."""
    detector = BlackHoleDetector()
    assert detector.suspected_size(rounds(detector, 20, size=size)) == fallback


def test_below_the_least_size_nothing_is_tried() -> None:
    """A SYNC is hardly smaller, and it is answered."""
    detector = BlackHoleDetector()
    assert detector.suspected_size(rounds(detector, 20, size=256)) is None


def test_a_datagram_that_arrives_speaks_for_the_smaller_sizes_only() -> None:
    """Datagrams of 600 bytes pass, and those of 1,400 do not."""
    detector = BlackHoleDetector()
    now = rounds(detector, 20)
    detector.on_acked(600)
    assert detector.suspected_size(now) == 1_200


def test_without_answers_it_is_an_outage() -> None:
    """Silence says nothing about sizes."""
    detector = BlackHoleDetector()
    for number in range(100):
        detector.on_sent(1_400, number * 0.3)
    assert detector.suspected_size(30.0) is None


def test_one_burst_is_one_round() -> None:
    """A window that was lost at once does not count as many."""
    detector = BlackHoleDetector()
    for _ in range(100):
        detector.on_sent(1_400, 0.0)
        detector.on_answer(1000)
    assert detector.suspected_size(10.0) is None


def test_a_large_datagram_that_arrives_ends_the_suspicion() -> None:
    """One is enough."""
    detector = BlackHoleDetector()
    now = rounds(detector, 8)
    detector.on_acked(1_400)
    detector.on_sent(1_400, now)
    assert detector.suspected_size(now + 10) is None


def test_a_receiver_that_takes_its_credit_back_is_full() -> None:
    """It may be refusing datagrams of any size."""
    detector = BlackHoleDetector()
    detector.on_answer(10_000)
    assert detector.suspected_size(rounds(detector, 20, credit=100)) is None
