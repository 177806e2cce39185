"""Samples are summarised right, in bounded memory."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.samples import Distribution, Samples


def test_nothing_seen_is_all_zero() -> None:
    """A reader need not ask whether there was anything."""
    assert Samples().distribution() == Distribution(0, 0.0, 0.0, 0.0)


def test_quantiles_are_interpolated() -> None:
    """Between the two nearest values, as `statistics.quantiles` does."""
    samples = Samples()
    for value in (40.0, 10.0, 30.0, 20.0):
        samples.add(value)
    found = samples.distribution()
    assert (found.count, found.mean, found.p50) == (4, 25.0, 25.0)
    assert found.p95 == pytest.approx(38.5)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=100))
def test_quantiles_agree_with_the_standard_library(values: list[float]) -> None:
    """The inclusive method, for any numbers."""
    samples = Samples()
    for value in values:
        samples.add(value)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = samples.distribution()
    assert found.p50 == pytest.approx(cuts[49], abs=1e-6)
    assert found.p95 == pytest.approx(cuts[94], abs=1e-6)


def test_old_samples_count_in_the_mean_only() -> None:
    """The quantiles are those of the latest samples."""
    samples = Samples(size=10)
    for _ in range(90):
        samples.add(0.0)
    for _ in range(10):
        samples.add(10.0)
    assert samples.distribution() == Distribution(100, 1.0, 10.0, 10.0)
