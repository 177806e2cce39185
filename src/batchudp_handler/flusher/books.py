"""What became of the records that a handler's machines were given, as of one moment."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import NamedTuple

from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.stats import SenderStats

__all__ = ["EMPTY", "Books", "added", "named"]

_NUMBERS = tuple(
    sorted(
        {each.name for each in fields(SenderCounters) if each.type == "int"}
        & {each.name for each in fields(SenderStats)}
    )
)
"""What the machines count and the stats show under one name."""
_FINAL = ("sent", "confirmed", "rejected_by_receiver", "unconfirmed")
"""Those of them that say what became of a record."""
_numbers = attrgetter(*_NUMBERS)


class Books(NamedTuple):
    """What became of the records that were drained, as of one moment."""

    numbers: dict[str, int]
    """Sums over all machines, by name."""
    dropped: dict[str, int]
    """Records that were drained, or adopted, and dropped, by cause."""
    adopted: int = 0
    """Records that were found in the spool."""
    retained: int = 0
    """Records that are sealed and in memory."""
    spooled: int = 0
    """Records that are on disk."""

    @property
    def settled(self) -> int:
        """Records that do not wait any more."""
        final = sum(self.numbers[name] for name in _FINAL)
        return final + sum(self.dropped.values()) + self.retained + self.spooled


EMPTY = Books(dict.fromkeys(_NUMBERS, 0), {})


def named(counters: SenderCounters) -> dict[str, int]:
    """The numbers of one machine, by name."""
    return dict(zip(_NUMBERS, _numbers(counters), strict=True))


def added(total: dict[str, int], *more: dict[str, int]) -> dict[str, int]:
    """The sums, name by name, in a dict of their own."""
    sums = total.copy()
    for each in more:
        for name, number in each.items():
            sums[name] = sums.get(name, 0) + number
    return sums
