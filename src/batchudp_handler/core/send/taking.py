"""What is taken from the waiting records, and when.

After a quiet time the first record leaves at once; from then on records gather until
`batch_size` of them wait, the oldest may have waited `flush_interval`, or one of them is urgent.
When an interval passes without a record, the next quiet time has begun, and nothing is due.

Flushes for size keep a small distance. Under load this is what lets batches grow: without it a
busy program would be flushed in tens, at a hundred times the cost per record.

A flush takes all records that wait when it begins, in portions that the machine has room for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.records.weight import LIGHT
from batchudp_handler.core.send.counters import Trigger

if TYPE_CHECKING:
    from batchudp_handler.core.send.counters import SenderCounters

__all__ = ["Taking", "TakingLimits", "Trigger"]

FLUSH_DISTANCE = 0.005
"""Seconds between two flushes for size, unless the buffer fills faster."""
CROWDED = 4
"""A buffer that is filled to one fourth is flushed without regard to the distance."""
AT_ONCE = 8
MOST_AT_ONCE = 1 << 20
"""Bytes: long texts are encoded in portions of an eighth of the room, or of this."""


@dataclass(frozen=True, slots=True)
class TakingLimits:
    """The settings that say when waiting records are taken."""

    batch_size: int = 10
    flush_interval: float = 5.0
    capacity: int = 10_000
    capacity_bytes: int = 64 << 20

    @property
    def most_records(self) -> int:
        """Records that may wait, however short their texts are."""
        return max(1, min(self.capacity, self.capacity_bytes // LIGHT))

    @property
    def bytes_at_once(self) -> int:
        """Bytes of long texts that are taken before they have been sent."""
        return min(MOST_AT_ONCE, self.capacity_bytes // AT_ONCE)


class Taking:
    """Decides when a flush begins, and how many of its records are taken at a time.

    >>> from batchudp_handler.core.send.counters import SenderCounters
    >>> taking = Taking(TakingLimits(batch_size=10, flush_interval=5.0), SenderCounters())
    >>> taking.due(now=100.0, waiting=1, is_urgent=False)
    <Trigger.FIRST: 'first'>
    >>> taking.begin(Trigger.FIRST, waiting=1, now=100.0)
    >>> taking.due(now=101.0, waiting=9, is_urgent=False), taking.deadline(101.0)
    (None, 105.0)
    """

    __slots__ = (
        "_asked",
        "_batch_size",
        "_counters",
        "_crowd",
        "_flush_interval",
        "_is_held",
        "_last_flush",
        "_since",
        "owed",
    )

    def __init__(self, limits: TakingLimits, counters: SenderCounters) -> None:
        self.owed = 0
        """Records of the present flush that were not taken yet."""
        self._counters = counters
        self._asked = 0
        self._since: float | None = None  # when the first of them were taken
        self._is_held = False
        self._last_flush: float | None = None  # None: quiet
        self.configure(limits)

    def configure(self, limits: TakingLimits) -> None:
        """Use other limits from now on."""
        self._batch_size = min(limits.batch_size, limits.most_records)
        self._flush_interval = limits.flush_interval
        self._crowd = max(self._batch_size, limits.most_records // CROWDED)

    # when a flush begins

    def due(self, now: float, waiting: int, *, is_urgent: bool) -> Trigger | None:
        """Return why the waiting records should leave now; None: they should not."""
        last = self._last_flush
        if not waiting:
            if last is not None and now >= last + self._flush_interval:
                self._last_flush = None
            return None
        if is_urgent:
            return Trigger.LEVEL
        if last is None:
            return Trigger.FIRST
        if waiting >= self.wake_at(now):
            return Trigger.SIZE
        return Trigger.TIME if now >= last + self._flush_interval else None

    def deadline(self, now: float) -> float | None:
        """Return when a flush may be due; None: only a record can make it due."""
        last = self._last_flush
        if last is None:
            return None
        distance = min(FLUSH_DISTANCE, self._flush_interval)
        return last + (distance if now < last + distance else self._flush_interval)

    def wake_at(self, now: float) -> int:
        """Return how many waiting records make a flush due before the deadline."""
        if self._last_flush is None:
            return 1
        return self._crowd if now < self._last_flush + FLUSH_DISTANCE else self._batch_size

    def hold(self) -> None:
        """Let no flush become due until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Let flushes become due."""
        self._is_held = False

    @property
    def may_begin(self) -> bool:
        """Whether a flush may begin: none is going on, and nothing holds the next one."""
        return not (self.owed or self._is_held)

    # the flush that has begun

    def begin(self, trigger: Trigger, waiting: int, now: float) -> None:
        """Begin a flush of all records that wait now."""
        if waiting:
            self._counters.flushes[trigger] += 1
            self._last_flush = now
            self.owed = waiting
            self._since = None

    def portion(self, wanted: int, now: float) -> int:
        """Return how many records to take now, of those that the machine wants."""
        self._asked = min(self.owed, wanted)
        if self._asked and self._since is None:
            self._since = now
            self._counters.batch_size.add(self.owed)
        return self._asked

    def on_taken(self, records: int) -> bool:
        """Note how many records were taken; return whether the others can follow at once.

        There may be fewer than expected: when the buffer is full, callers drop the oldest.
        """
        self.owed = self.owed - records if records else 0
        return bool(self.owed) and records == self._asked

    def on_sent(self, now: float) -> None:
        """Note that all records of the flush were taken, and sent as far as was possible."""
        if self._since is not None:
            self._counters.send_time.add(now - self._since)
            self._since = None
