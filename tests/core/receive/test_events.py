"""Events say what a shell needs to know without looking elsewhere."""

from __future__ import annotations

import pytest

from batchudp_handler.core.receive.events import BatchReceived


@pytest.mark.parametrize(("n_rec", "least"), [(0, 1), (1, 1), (12, 12)])
def test_a_batch_that_says_nothing_has_at_least_one_record(n_rec: int, least: int) -> None:
    """Nobody sends an empty batch."""
    assert BatchReceived(1, 0, n_rec, 0, b"", "", 0, 0.0).least_records == least
