"""Numbers collected in bounded memory, and their distribution."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Distribution", "Samples"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Count and mean of everything seen, median and 95th percentile of the recent part."""

    count: int = 0
    """Number of all values."""
    mean: float = 0.0
    """Mean of all values."""
    p50: float = 0.0
    """Median of the latest values."""
    p95: float = 0.0
    """95th percentile of the latest values."""


class Samples:
    """Collects numbers in bounded memory.

    Count and sum are kept for ever, the values themselves only for the latest `size` samples: a
    ring instead of a random reservoir, because the core draws no random numbers and because the
    recent past is what an operator asks about.
    """

    __slots__ = ("_recent", "_size", "_total")

    def __init__(self, size: int = 512) -> None:
        self._size = size
        # a list, as one can be copied while another thread changes it
        self._recent: list[float] = []
        self._total = (0, 0.0)

    def add(self, value: float) -> None:
        """Take one sample."""
        count, total = self._total
        if count < self._size:
            self._recent.append(value)
        else:
            self._recent[count % self._size] = value
        self._total = (count + 1, total + value)  # count and sum change together

    def distribution(self) -> Distribution:
        """Summarise; safe to call while another thread adds."""
        count, total = self._total
        if not count:
            return Distribution()
        values = sorted(self._recent.copy())
        return Distribution(count, total / count, _quantile(values, 0.50), _quantile(values, 0.95))


def _quantile(values: list[float], share: float) -> float:
    """Interpolate linearly between the two nearest of the sorted values."""
    position = (len(values) - 1) * share
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (position - below)
