"""The counters of a handler's streams."""

from __future__ import annotations

from batchudp_handler.core.send.counters import SenderCounters, Trigger


def test_drops_add_up_by_cause() -> None:
    """A cause without a record does not appear."""
    counters = SenderCounters()
    counters.drop("closed", 2)
    counters.drop("closed", 3)
    counters.drop("oversize", 1)
    counters.drop("send_failed", 0)
    assert counters.dropped == {"closed": 5, "oversize": 1}
    assert counters.total_dropped == 6


def test_what_is_ignored_adds_up_by_reason() -> None:
    """One datagram at a time."""
    counters = SenderCounters()
    for reason in ("stale", "shape", "stale"):
        counters.ignore(reason)
    assert counters.ignored == {"stale": 2, "shape": 1}


def test_every_trigger_has_a_count_from_the_start() -> None:
    """Each handler has its own."""
    assert SenderCounters().flushes == dict.fromkeys(Trigger, 0)
    assert SenderCounters().flushes is not SenderCounters().flushes
