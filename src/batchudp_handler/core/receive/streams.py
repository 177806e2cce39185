"""The live streams of a receiver, and what is kept of those that it has forgotten.

The table is bounded. A stream that ended with every record handled leaves it at once, and a
tombstone recognises its copies from then on. When the table is full, a new stream takes the place
of one that a tombstone describes as well:

* one that has ended and was kept for records that may still come late;
* one that has been silent for two seconds and never was heard of for longer than ten: a process
  that was killed. Should it be alive all the same, its next datagram brings it back, and every
  number goes on where it was;
* one that has been silent for a minute.

Streams that have been heard of for longer are protected for that minute: a flood of invented
streams displaces invented ones, and keeps new ones out at worst. Those acknowledged streams are
protected too that hold datagrams above their floor, which a tombstone does not know: within a
minute every cookie is dead that could bring a recording of them in.

What a forgotten stream has counted stays in the totals; its last snapshot stays in a list of the
latest ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, TypeVar

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.ledger import LOSS_DELAY
from batchudp_handler.core.receive.tombstones import Tombstones

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.core.receive.stats import EndReason, StreamStats
    from batchudp_handler.core.receive.stream import Stream
    from batchudp_handler.core.receive.tombstones import Tombstone

_T = TypeVar("_T")

__all__ = ["PROTECTED_SECONDS", "SUMMED", "StreamTable"]

PROTECTED_SECONDS = 60.0
"""Two cookie buckets: after so much silence every cookie made for a stream is dead."""
REMEMBERED = 256
"""Snapshots of forgotten streams."""
ESTABLISHED_SECONDS = 10.0
"""A stream that was heard of for so long is not a process that was over in a moment."""
SEARCH_SECONDS = 0.25
"""A table with few victims is not searched again before: a flood must not make us do it."""
VICTIMS_SHARE = 8
"""One search finds victims for an eighth of the table, so that each of them costs little."""
ACTIVE_SECONDS = 5.0
"""A stream with data this lately counts as active."""
RECOUNT_SECONDS = 0.25

SUMMED = (
    *("delivered", "lost", "missing", "abandoned", "pending", "late", "duplicates"),
    *("duplicate_datagrams", "sender_dropped", "unseen_before_start", "possibly_duplicate"),
)
"""The numbers of a stream that add up to the receiver's."""


class StreamTable:
    """The live streams by id, and the memory of the others.

    Args:
        limit: How many streams there may be.
        remembered: How many are remembered after that, of each kind: acknowledged, one-way with
            a key, and one-way without, which anybody can make.
        secret: Random bytes.
        now: The time.
    """

    def __init__(self, limit: int, remembered: int, secret: bytes, now: float) -> None:
        self._limit = limit
        self._streams: dict[int, Stream] = {}
        self._victims: list[Stream] = []
        self._search_at = -inf
        self._active = 1
        self._recount_at = -inf
        self.seen = 0
        self.ended: Counter[EndReason] = Counter()
        self.forgotten: dict[int, StreamStats] = {}
        self.forgotten_sums: Counter[str] = Counter()
        self.forgotten_rejected: Counter[str] = Counter()
        self._acknowledged = Tombstones(remembered, secret, now)
        self._keyed = Tombstones(remembered, secret, now)
        self._open = Tombstones(remembered, secret, now)

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def get(self, stream_id: int) -> Stream | None:
        """Return the stream with this id, ended or not, unless it is forgotten."""
        return self._streams.get(stream_id)

    def tombstone(self, stream_id: int, key_id: int, *, acknowledged: bool) -> Tombstone | None:
        """Return what is remembered of a stream of this kind that is not in the table."""
        return self._tombstones(key_id, acknowledged=acknowledged).get(stream_id)

    def _tombstones(self, key_id: int, *, acknowledged: bool) -> Tombstones:
        if acknowledged:
            return self._acknowledged
        return self._keyed if key_id else self._open

    @property
    def complete_since(self) -> float:
        """The time since when no one-way stream with a key was forgotten without a tombstone."""
        return self._keyed.complete_since

    def victim(self, now: float) -> Stream | None:
        """Return the stream that must be forgotten before another one fits; None: there is room.

        Raises:
            DecodeError: there is no room, and none can be made.
        """
        if len(self._streams) < self._limit:
            return None
        if not self._victims and now >= self._search_at:
            wanted = max(1, self._limit // VICTIMS_SHARE)
            found = sorted([stream for stream in self if _may_go(stream, now)], key=_order)
            self._victims = found[:wanted][::-1]
            if len(found) < wanted:
                self._search_at = now + SEARCH_SECONDS
        while self._victims:
            stream = self._victims.pop()
            if self._streams.get(stream.stream_id) is stream and _may_go(stream, now):
                return stream
        raise DecodeError(Reason.STREAM_LIMIT)

    def add(self, stream: Stream) -> None:
        """Take a stream in; the caller has made room."""
        self._streams[stream.stream_id] = stream
        self.seen += 1
        self._active += 1

    def forget(self, stream: Stream, now: float) -> None:
        """Take a stream out, keep its numbers, and remember where it stood."""
        del self._streams[stream.stream_id]
        stats = replace(stream.stats(now), idle=0.0)
        self.forgotten_sums.update({name: getattr(stats, name) for name in SUMMED})
        self.forgotten_rejected.update(stats.rejected)
        self.forgotten.pop(stream.stream_id, None)
        _put(self.forgotten, stream.stream_id, stats, REMEMBERED)
        tombstones = self._tombstones(stream.key_id, acknowledged=stream.acknowledged)
        tombstones.put(stream.stream_id, stream.tombstone(), now)

    def count_duplicate(self, records: int) -> None:
        """Count a datagram that came again although its stream is forgotten."""
        self.forgotten_sums.update(duplicates=records, duplicate_datagrams=1)

    def active(self, now: float) -> int:
        """Return how many streams share the receive buffer at present, at least 1."""
        if now >= self._recount_at:
            self._recount_at = now + RECOUNT_SECONDS
            limit = now - ACTIVE_SECONDS
            self._active = sum(stream.last_data >= limit for stream in self)
        return max(1, self._active)


def _may_go(stream: Stream, now: float) -> bool:
    """Return whether a tombstone is enough for this stream from now on."""
    if stream.records.batches or stream.reassembly.groups:
        return False
    silence = now - stream.last_seen
    if silence >= PROTECTED_SECONDS:
        return True
    if stream.acknowledged and not stream.is_settled:
        return False
    if stream.ended is not None:
        return True
    is_established = stream.last_seen - stream.created >= ESTABLISHED_SECONDS
    return silence >= LOSS_DELAY and not is_established


def _order(stream: Stream) -> tuple[bool, float]:
    """Return a sort key: ended streams first, then those that were silent for longest."""
    return stream.ended is None, stream.last_seen


def _put(table: dict[int, _T], key: int, value: _T, limit: int) -> None:
    """Insert, and remove the oldest entry when there are too many."""
    table[key] = value
    if len(table) > limit:
        del table[next(iter(table))]
