"""The way of records to those who follow them live, without holding up anything.

    worker: deliver -> Tap.offer (never waits) -> control thread: filter, format, send

Filters and JSON are the control thread's work. What it cannot keep up with is left out and
counted, for the follower as for the operator: local outputs have every record all the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.records.arrival import Arrival, arrival_of
from batchudp_handler.receiver.reemit import Outcome, Reemitter

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

    from batchudp_handler.receiver.guard import Guard

__all__ = ["RecordFilter", "Tap", "TappedReemitter"]

MOST_BYTES = 16_777_216
BYTES_PER_RECORD = 1_000
"""What a record takes beside its texts."""


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records a follower wants; what is empty wants all."""

    logger: str = ""
    """This logger and those below it."""
    level: int = 0
    sender: str = ""
    """A host's name as it calls itself, its address, or address and port."""

    def wants(self, record: logging.LogRecord) -> bool:
        """Return whether this record passes."""
        return (
            record.levelno >= self.level
            and self._is_logger(record.name)
            and (not self.sender or self._is_sender(record))
        )

    def _is_logger(self, name: str) -> bool:
        wanted = self.logger
        return not wanted or name == wanted or name.startswith(wanted + ".")

    def _is_sender(self, record: logging.LogRecord) -> bool:
        arrival = arrival_of(record) or Arrival()
        address = str(arrival.remote_addr or "")
        host = address.rpartition(":")[0].strip("[]")
        return self.sender in (arrival.hostname, address, host)


class Tap:
    """A bounded queue from the worker to the control thread."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.has_followers = False
        """Set by the control thread; while it is False nothing is kept."""
        self.skipped = 0
        """Records that found the queue full. Only the worker counts."""
        self.wake: Callable[[], None] = _do_nothing
        self._most_bytes = most_bytes
        self._offered_bytes = 0  # only the worker adds
        self._taken_bytes = 0  # only the control thread adds
        self._records: deque[tuple[logging.LogRecord, int]] = deque()

    def offer(self, records: Iterable[logging.LogRecord]) -> None:
        """Keep the records for the followers, as far as there is room.

        A record whose size cannot be told, because a filter or a factory made something odd of it,
        counts as skipped.
        """
        for record in records:
            try:
                size = _size(record)
            except BaseException:  # noqa: BLE001  # code of the program; told with `skipped`
                size = self._most_bytes + 1
            if self._offered_bytes - self._taken_bytes + size > self._most_bytes:
                self.skipped += 1
                continue
            self._offered_bytes += size
            self._records.append((record, size))
        self.wake()

    def take(self, most: int) -> list[logging.LogRecord]:
        """Return the oldest records, up to so many."""
        taken: list[logging.LogRecord] = []
        while self._records and len(taken) < most:
            record, size = self._records.popleft()
            self._taken_bytes += size
            taken.append(record)
        return taken


class TappedReemitter(Reemitter):
    """One that shows what it delivers to a tap."""

    def __init__(self, tap: Tap, *, prefix: str = "", restore_exceptions: bool = False) -> None:
        super().__init__(prefix=prefix, restore_exceptions=restore_exceptions)
        self._tap = tap

    def deliver(self, records: Iterable[logging.LogRecord], guard: Guard | None = None) -> Outcome:
        """Hand over each record, then show it."""
        if not self._tap.has_followers:
            return super().deliver(records, guard)
        kept = list(records)
        outcome = super().deliver(kept, guard)
        self._tap.offer(kept)
        return outcome


def _do_nothing() -> None:
    pass


def _size(record: logging.LogRecord) -> int:
    texts = [record.msg, record.exc_text, record.stack_info]
    if isinstance(record.args, tuple):
        texts += record.args
    return BYTES_PER_RECORD + sum(len(text) for text in texts if isinstance(text, str))
