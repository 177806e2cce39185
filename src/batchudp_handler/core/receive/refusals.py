"""Reports to the operator about what a receiver refuses, at a bounded rate.

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
class _Unreported:
    """What was refused for one reason since its last report."""

    reported_at: float = -inf
    count: int = 0
    sources: Counter[str] = field(default_factory=Counter)

    @property
    def due(self) -> float:
        """When this may be reported; infinite: there is nothing to report."""
        return self.reported_at + INTERVAL if self.count else inf


class Refusals:
    """Refusals by reason, and the reports about them that are due."""

    __slots__ = ("_unreported", "next_due")

    def __init__(self) -> None:
        self._unreported: dict[str, _Unreported] = {}
        self.next_due = inf
        """When `due` has something next; infinite: not until something is refused."""

    def add(self, reason: str, source: str, count: int = 1) -> None:
        """Count something that was refused."""
        unreported = self._unreported.get(reason)
        if unreported is None:
            unreported = self._unreported[reason] = _Unreported()
        unreported.count += count
        if source in unreported.sources or len(unreported.sources) < NAMED_SOURCES:
            unreported.sources[source] += count
        self.next_due = min(self.next_due, unreported.due)

    def due(self, now: float) -> list[Report]:
        """Return the reports that are due, each one once."""
        return self._take([key for key, each in self._unreported.items() if each.due <= now], now)

    def rest(self, now: float) -> list[Report]:
        """Return everything unreported, at the end."""
        return self._take([key for key, each in self._unreported.items() if each.count], now)

    def _take(self, reasons: list[str], now: float) -> list[Report]:
        reports = []
        for reason in reasons:
            unreported = self._unreported[reason]
            self._unreported[reason] = _Unreported(reported_at=now)
            sources = tuple(unreported.sources.most_common())
            reports.append(Report(reason, unreported.count, sources))
        self.next_due = min((each.due for each in self._unreported.values()), default=inf)
        return reports
