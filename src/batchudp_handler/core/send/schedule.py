"""When is the next flush due, and how many waiting records should wake the flusher before?

After a quiet time the first record leaves at once; from then on records gather until
`batch_size` of them wait, the oldest may have waited `flush_interval`, or one of them is urgent.
When an interval passes without a record, the next quiet time has begun, and nothing is due.

Flushes for size keep a small distance. Under load this is what lets batches grow: without it a
busy program would be flushed in tens, at a hundred times the cost per record.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Schedule", "Trigger"]

FLUSH_DISTANCE = 0.005
"""Seconds between two flushes for size, unless the buffer fills faster."""
CROWDED = 4
"""A buffer that is filled to one fourth is flushed without regard to the distance."""


class Trigger(StrEnum):
    """Why a flush happened. The values are the counters' names."""

    FIRST = "first"
    SIZE = "size"
    TIME = "time"
    LEVEL = "level"
    FLUSH = "flush"
    CLOSE = "close"


class Schedule:
    """Decides about flushes; it is told the time and the number of waiting records.

    >>> schedule = Schedule(batch_size=10, flush_interval=5.0, capacity=10_000)
    >>> schedule.due(now=100.0, waiting=1, urgent=False)
    <Trigger.FIRST: 'first'>
    >>> schedule.on_flush(now=100.0)
    >>> schedule.due(now=101.0, waiting=9, urgent=False), schedule.deadline(101.0)
    (None, 105.0)
    """

    __slots__ = ("_batch_size", "_crowd", "_flush_interval", "_last_flush")

    def __init__(self, batch_size: int, flush_interval: float, capacity: int) -> None:
        self._last_flush: float | None = None  # None: quiet
        self.configure(batch_size, flush_interval, capacity)

    def configure(self, batch_size: int, flush_interval: float, capacity: int) -> None:
        """Use other limits from now on."""
        self._batch_size = min(batch_size, capacity)
        self._flush_interval = flush_interval
        self._crowd = max(self._batch_size, capacity // CROWDED)

    def due(self, now: float, waiting: int, *, urgent: bool) -> Trigger | None:
        """Why the waiting records should leave now, or None."""
        last = self._last_flush
        if not waiting:
            if last is not None and now >= last + self._flush_interval:
                self._last_flush = None
            return None
        if urgent:
            return Trigger.LEVEL
        if last is None:
            return Trigger.FIRST
        if waiting >= self.wake_at(now):
            return Trigger.SIZE
        return Trigger.TIME if now >= last + self._flush_interval else None

    def on_flush(self, now: float) -> None:
        """A flush of all that waited has begun."""
        self._last_flush = now

    def deadline(self, now: float) -> float | None:
        """When to ask again, even if nobody calls; None: only a record can make a flush due."""
        last = self._last_flush
        if last is None:
            return None
        distance = min(FLUSH_DISTANCE, self._flush_interval)
        return last + (distance if now < last + distance else self._flush_interval)

    def wake_at(self, now: float) -> int:
        """How many waiting records make a flush due before the deadline."""
        if self._last_flush is None:
            return 1
        return self._crowd if now < self._last_flush + FLUSH_DISTANCE else self._batch_size
