"""The limits of a spool, and what goes first when it would exceed them.

What goes is always a whole segment: the oldest one of all streams, whatever is in it. Age goes
before size, so that what is too old does not push out what is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SpoolLimits"]

SEGMENT_SIZE = 1 << 20
SEGMENT_SPAN = 3_600.0
"""Seconds for which a segment is written to, so that its age is that of all of its records."""


class StreamOnDisk(Protocol):
    """The part of a stream that these decisions need."""

    @property
    def size(self) -> int:
        """Bytes in its segments."""

    @property
    def oldest_birth(self) -> float:
        """The witnessed time at which its oldest segment was begun."""


T = TypeVar("T", bound=StreamOnDisk)


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much the streams of one process may keep on disk, and for how long."""

    max_bytes: int = 64 << 20
    """Of all streams together."""
    max_age: float = 7 * 86_400.0
    """Seconds of witnessed time; a week, as the keys that sealed the datagrams should outlive
    them."""

    @property
    def segment_size(self) -> int:
        """Bytes of a segment: several fit even the smallest spool, so some stay when one goes."""
        return min(SEGMENT_SIZE, self.max_bytes // 4)

    @property
    def segment_span(self) -> float:
        """Seconds for which a segment is written to."""
        return min(SEGMENT_SPAN, self.max_age / 8)

    def takes(self, segment_size: int, born: float, size: int, now: float) -> bool:
        """Return whether a segment is neither full nor old, with so many bytes more."""
        is_young = now < born + self.segment_span
        return is_young and segment_size + size <= self.segment_size

    def expired_before(self, now: float) -> float:
        """Return the witnessed time before which a segment that is too old was begun.

        Its youngest record may have come when it was no longer written to.
        """
        return now - self.max_age - self.segment_span

    def next_to_drop(self, streams: Iterable[T], size: int) -> T | None:
        """Return the stream whose oldest segment must go before `size` bytes more fit.

        None: they fit, or there is nothing left that could go.
        """
        full = [stream for stream in streams if stream.size]
        if sum([stream.size for stream in full]) + size <= self.max_bytes:
            return None
        return min(full, key=lambda stream: stream.oldest_birth, default=None)

    def excess(self, size: int) -> int:
        """Return how many of so many bytes are too many; not positive: none."""
        return size - self.max_bytes
