"""The search for a size that arrives, where large datagrams vanish."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.black_hole import BlackHoleDetector


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
