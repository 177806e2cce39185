"""How often an operator hears of what a receiver refuses.

For each reason there is a report at the first refusal, and from then on at most one in
`INTERVAL` seconds, with everything since the last. Whoever can send datagrams could make a
receiver talk and remember without end; here memory is bounded by the number of reasons, and a
report names only the first sources of its period, because addresses can be forged.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf

__all__ = ["INTERVAL", "Refusals", "Report"]

INTERVAL = 60.0
"""Seconds between two reports of one reason."""
NAMED_SOURCES = 5
"""Sources of one report that are counted by name."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was refused for one reason since the report before."""

    reason: str
    count: int
    sources: tuple[tuple[str, int], ...]
    """The first sources of this period with their counts, the largest count first."""

    @property
    def others(self) -> int:
        """How much of the count came from sources that are not named."""
        return self.count - sum(count for _, count in self.sources)


@dataclass(slots=True)
class _Untold:
    """What came together for one reason since its last report."""

    told_at: float = -inf
    count: int = 0
    sources: Counter[str] = field(default_factory=Counter)


class Refusals:
    """Collects refusals and gives out the reports that are due."""

    __slots__ = ("_untold",)

    def __init__(self) -> None:
        self._untold: dict[str, _Untold] = {}

    def add(self, reason: str, source: str, count: int = 1) -> None:
        """Take something that was refused."""
        untold = self._untold.get(reason)
        if untold is None:
            untold = self._untold[reason] = _Untold()
        untold.count += count
        if source in untold.sources or len(untold.sources) < NAMED_SOURCES:
            untold.sources[source] += count

    def due_at(self, reason: str) -> float:
        """When what is untold of this reason may be reported; infinite if nothing is."""
        untold = self._untold.get(reason)
        return untold.told_at + INTERVAL if untold is not None and untold.count else inf

    @property
    def next_due(self) -> float:
        """When `due` has something next; infinite: not until something is refused."""
        return min(map(self.due_at, self._untold), default=inf)

    def due(self, now: float) -> list[Report]:
        """The reports of which it is time; each is given out once."""
        return [self._report(reason, now) for reason in self._untold if self.due_at(reason) <= now]

    def rest(self, now: float) -> list[Report]:
        """Everything untold, at the end."""
        return [self._report(reason, now) for reason in self._untold if self.due_at(reason) < inf]

    def _report(self, reason: str, now: float) -> Report:
        untold = self._untold[reason]
        self._untold[reason] = _Untold(told_at=now)
        return Report(reason, untold.count, tuple(untold.sources.most_common()))
