"""What became of the records that a session was given, as of one moment."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.stats import SenderStats

if TYPE_CHECKING:
    from batchudp_handler.core.send.session import Session

__all__ = ["EMPTY", "Books", "books_of"]

_NUMBERS = tuple(
    sorted(
        {each.name for each in fields(SenderCounters) if each.type == "int"}
        & {each.name for each in fields(SenderStats)}
    )
)
"""What the session counts and the stats show under one name."""
_FINAL = ("sent", "confirmed", "rejected_by_receiver", "unconfirmed")
"""Those of them that say what became of a record."""
_numbers = attrgetter(*_NUMBERS)


class Books(NamedTuple):
    """What became of the records that were drained, as of one moment."""

    numbers: dict[str, int]
    """The counters, by name."""
    dropped: dict[str, int]
    """Records that were drained, or adopted, and dropped, by cause."""
    retained: int = 0
    """Records that are sealed and in memory."""
    spooled: int = 0
    """Records that are on disk."""

    @property
    def adopted(self) -> int:
        """Records that were found in the spool."""
        return self.numbers["adopted"]

    @property
    def settled(self) -> int:
        """Records that do not wait any more."""
        final = sum(self.numbers[name] for name in _FINAL)
        return final + sum(self.dropped.values()) + self.retained + self.spooled


EMPTY = Books(dict.fromkeys(_NUMBERS, 0), {})


def books_of(session: Session) -> Books:
    """Return a copy of what a session has counted; for the thread that owns it."""
    counters = session.counters
    return Books(
        dict(zip(_NUMBERS, _numbers(counters), strict=True)),
        counters.dropped.copy(),
        session.retained_records,
        session.spooled_records,
    )
