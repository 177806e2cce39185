"""Which streams does a receiver remember, and what became of those that it has forgotten?

The table is bounded, and a stream heard of within the last minute is never thrown out of it: a
flood of invented streams can keep new ones out, but cannot make the receiver forget one that it
must still recognise. What a forgotten stream has counted stays in the totals; its last snapshot
stays in a list of the latest ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, TypeVar

from batchudp_handler.core.errors import DecodeError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.core.receive_stream import Stream
    from batchudp_handler.core.stats import StreamStats

_T = TypeVar("_T")

__all__ = ["PROTECTED_SECONDS", "SUMMED", "StreamTable"]

PROTECTED_SECONDS = 60.0
"""Two cookie buckets: when a stream may be forgotten, every cookie made for it is dead."""
REMEMBERED = 256
"""Snapshots of forgotten streams."""
SETTLED = 4096
"""Forgotten acknowledged streams whose two totals are kept for the acks, should they return."""
ACTIVE_SECONDS = 5.0
"""A stream with data this lately counts as active."""
RECOUNT_SECONDS = 0.25

SUMMED = (
    *("delivered", "lost", "missing", "abandoned", "pending", "late", "duplicates"),
    *("duplicate_datagrams", "sender_dropped", "unseen_before_start", "possibly_duplicate"),
)
"""The numbers of a stream that add up to the receiver's."""


class StreamTable:
    """The live streams by id, and the memory of the others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams: dict[int, Stream] = {}
        self._no_victim_before = -inf
        self._active = 1
        self._recount_at = -inf
        self.seen = 0
        self.ended: Counter[str] = Counter()
        self.forgotten: dict[int, StreamStats] = {}
        self.forgotten_sums: Counter[str] = Counter()
        self.forgotten_rejected: Counter[str] = Counter()
        self._settled: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def get(self, stream_id: int) -> Stream | None:
        """The stream with this id, ended or not, unless it is forgotten."""
        return self._streams.get(stream_id)

    def victim(self, now: float) -> Stream | None:
        """The stream that must be forgotten before another one fits, None if there is room.

        Raises:
            DecodeError: there is no room, and none can be made.
        """
        if len(self._streams) < self._limit:
            return None
        if now >= self._no_victim_before:
            idle = [stream for stream in self if not stream.pending]
            oldest = min(idle, key=lambda stream: stream.last_seen, default=None)
            if oldest is not None and oldest.last_seen + PROTECTED_SECONDS <= now:
                return oldest
            # nobody becomes a victim before this; a flood must not make us search each time
            wait = oldest.last_seen + PROTECTED_SECONDS if oldest is not None else now + 1.0
            self._no_victim_before = wait
        raise DecodeError(Reason.STREAM_LIMIT)

    def add(self, stream: Stream) -> None:
        """Take a new stream in; the caller has made room."""
        stream.base_delivered, stream.base_rejected = self._settled.pop(stream.stream_id, (0, 0))
        self._streams[stream.stream_id] = stream
        self.seen += 1
        self._active += 1

    def forget(self, stream: Stream, now: float) -> None:
        """Take a stream out and keep its numbers."""
        del self._streams[stream.stream_id]
        stream.release()
        stats = replace(stream.stats(now), idle=0.0)
        self.forgotten_sums.update({name: getattr(stats, name) for name in SUMMED})
        self.forgotten_rejected.update(stats.rejected)
        self.forgotten.pop(stream.stream_id, None)
        _put(self.forgotten, stream.stream_id, stats, REMEMBERED)
        if stream.acknowledged:
            settled = (
                stream.base_delivered + stream.delivered,
                stream.base_rejected + sum(stream.rejected.values()),
            )
            _put(self._settled, stream.stream_id, settled, SETTLED)

    def active(self, now: float) -> int:
        """How many streams share the receive buffer at present, at least 1."""
        if now >= self._recount_at:
            self._recount_at = now + RECOUNT_SECONDS
            limit = now - ACTIVE_SECONDS
            self._active = sum(stream.last_data >= limit for stream in self)
        return max(1, self._active)


def _put(table: dict[int, _T], key: int, value: _T, limit: int) -> None:
    """Insert, and let the oldest entry go when there are too many."""
    table[key] = value
    if len(table) > limit:
        del table[next(iter(table))]
