"""The probe timer: when a missing answer is suspicious, and when nobody is there."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.probe_timer import ProbeTimer
from batchudp_handler.core.send.rtt import RttEstimator


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


def test_the_wait_counts_from_the_first_datagram_that_is_not_answered() -> None:
    """Later ones do not put it off."""
    probe = timer()
    probe.on_sent(0.0)
    probe.on_sent(100.0)
    for _ in range(5):
        probe.on_expired(1.0)
    assert probe.is_silent(5.1)
