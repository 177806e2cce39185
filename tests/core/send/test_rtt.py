"""The round-trip estimate and the timeouts made from it."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.rtt import GRANULARITY, INITIAL_PROBE_TIMEOUT, RttEstimator


def estimator(*samples: float) -> RttEstimator:
    rtt = RttEstimator()
    for sample in samples:
        rtt.add_sample(sample)
    return rtt


def test_first_sample_is_taken_as_it_is() -> None:
    """The first sample sets the smoothed time, and half of it the variation."""
    rtt = estimator(0.1)
    assert rtt.smoothed == 0.1
    assert rtt.variation == 0.05


def test_smoothing_follows_rfc_9002() -> None:
    """The variation moves by a quarter against the old smoothed time, that by an eighth."""
    rtt = estimator(0.1, 0.2)
    assert rtt.variation == pytest.approx(0.75 * 0.05 + 0.25 * 0.1)
    assert rtt.smoothed == pytest.approx(0.875 * 0.1 + 0.125 * 0.2)
    assert rtt.minimum == 0.1


def test_probe_timeout_without_a_sample() -> None:
    """Before the first answer the timeout is the initial one, doubled up to three seconds."""
    rtt = RttEstimator()
    timeouts = [rtt.probe_timeout(expiries) for expiries in range(6)]
    assert timeouts == [INITIAL_PROBE_TIMEOUT * factor for factor in (1, 2, 4)] + [3.0] * 3


def test_probe_timeout_has_a_floor_of_granularity() -> None:
    """A path without variation still gets the granularity on top of its round trip."""
    rtt = estimator(*[0.001] * 100)
    assert rtt.probe_timeout() == pytest.approx(0.001 + GRANULARITY)


def test_probe_timeout_doubles_up_to_the_cap() -> None:
    """On a fast path the doubling ends at half a second, however many probes were in vain."""
    rtt = estimator(*[0.001] * 100)
    assert rtt.probe_timeout(1) == pytest.approx(2 * rtt.probe_timeout())
    assert rtt.probe_timeout(6) == 0.5
    assert rtt.probe_timeout(10_000) == 0.5


def test_probe_timeout_cap_grows_with_a_slow_path() -> None:
    """On a slow path the cap is twice the timeout."""
    rtt = estimator(*[2.0] * 100)
    assert rtt.probe_timeout(10) == pytest.approx(2 * rtt.probe_timeout())


def test_loss_delay_is_nine_eighths_of_a_round_trip() -> None:
    """The time threshold of RFC 9002, with at least 2 ms taken for the round trip."""
    assert estimator(0.08).loss_delay == pytest.approx(0.09)
    assert estimator(0.0001).loss_delay == pytest.approx(0.00225)


def test_lower_bounds_raise_and_never_lower() -> None:
    """What is known from a datagram sent twice may raise the estimate only."""
    rtt = estimator(0.1)
    rtt.add_lower_bound(0.05)
    assert rtt.smoothed == 0.1
    rtt.add_lower_bound(0.3)
    assert rtt.smoothed is not None
    assert rtt.smoothed > 0.1


def test_a_lower_bound_is_no_first_sample() -> None:
    """An ambiguous answer never starts the estimate."""
    rtt = RttEstimator()
    rtt.add_lower_bound(0.3)
    assert rtt.smoothed is None


def test_spurious_losses_widen_the_threshold_and_true_ones_narrow_it() -> None:
    """The time threshold adapts between nine eighths and eight round trips."""
    rtt = estimator(0.1)
    for _ in range(100):
        rtt.on_spurious_loss()
    assert rtt.loss_delay == pytest.approx(0.8)
    for _ in range(1000):
        rtt.on_true_loss()
    assert rtt.loss_delay == pytest.approx(0.1125)


def test_an_answer_that_is_too_fast_belongs_to_an_earlier_transmission() -> None:
    """Well below the shortest round trip ever seen, the answer cannot be to the last one."""
    rtt = estimator(0.1, 0.2)
    assert rtt.is_answer_to_earlier(0.05)
    assert not rtt.is_answer_to_earlier(0.1)
    assert not RttEstimator().is_answer_to_earlier(0.0)


def test_late_samples_raise_the_estimate_by_steps() -> None:
    """After the timer expired a sample may be an ack that was lost: it counts in part."""
    rtt = estimator(0.001)
    rtt.add_late_sample(60.0)
    assert rtt.smoothed is not None
    assert 0.001 < rtt.smoothed < 0.01


def test_lower_bounds_above_the_cap_of_the_backoff_are_not_believed() -> None:
    """Longer timeouts must not make longer samples, and those longer timeouts."""
    rtt = estimator(0.1)
    for _ in range(1000):
        rtt.add_lower_bound(rtt.probe_timeout(5))
    assert rtt.smoothed is not None
    assert rtt.smoothed <= 0.5


def test_loss_waits_for_the_latest_sample_and_for_doubt() -> None:
    """A path that became slower a moment ago has not lost what is still on its way."""
    rtt = estimator(0.001, 0.5)
    assert rtt.loss_delay == pytest.approx(0.5 * 1.125)
    rtt.doubt = 2.0
    assert rtt.loss_delay == pytest.approx(2.0 * 1.125)
