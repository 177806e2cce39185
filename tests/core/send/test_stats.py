"""What `stats()` of a handler returns."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from batchudp_handler.core.send.stats import SenderStats


def test_a_new_handler_has_done_nothing() -> None:
    """Every number is there, and none is shared between two of them."""
    stats = SenderStats()
    assert (stats.accepted, stats.rtt, stats.last_error) == (0, None, "")
    assert stats.dropped == {}
    assert stats.dropped is not SenderStats().dropped


def test_a_snapshot_does_not_change() -> None:
    """Who keeps one can compare it with a later one."""
    with pytest.raises(FrozenInstanceError):
        SenderStats().accepted = 1  # type: ignore[misc]  # that is the point
