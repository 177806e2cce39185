"""The few numbers that are kept of streams that have left the table.

A stream that has said goodbye needs no place among the living, but copies of its datagrams must
still be recognised, and its sender may ask once more whether all is final. One number decides
both: up to where everything is final.

A tombstone takes 40 to 48 bytes: arrays hold the numbers, and a hash table of positions finds
them. Only the oldest are forgotten, half of all at a time, so that nothing is ever taken out of a
table. The hash depends on a secret, because senders choose the numbers of their streams.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from batchudp_handler.core.wire.constants import MAX_SEQ, MODULUS

if TYPE_CHECKING:
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["Tombstone", "Tombstones"]

FIRST_SIZE = 64
"""Places of an empty table; a power of two, as all sizes are."""


class Tombstone(NamedTuple):
    """Where a stream stood when it was forgotten. Counts of records are modulo 2^32."""

    next_seq: int
    """Every datagram below is final: none of them is taken again."""
    next_rec: int
    """Ordinal of the first record of datagram `next_seq`."""
    delivered: int
    """Records, over all the times that the stream was in the table."""
    rejected: int
    """The same."""
    dropped: int
    """As the sender told."""

    def is_news(self, sync: Sync) -> bool:
        """Return whether a one-way sender says more than is known of its stream."""
        dropped = (sync.dropped_records - self.dropped) % MODULUS
        return sync.next_seq > self.next_seq or 0 < dropped < MODULUS // 2

    def answers(self, sync: Sync) -> bool:
        """Return whether an acknowledged sender needs nothing but the numbers here.

        Anything older than the tombstone is a late copy, or of a sender that took up what its
        predecessor had sent; and a goodbye wants to know that all is final.
        """
        if sync.next_seq == self.next_seq:
            return sync.closing
        return sync.next_seq < self.next_seq


class _Table:
    """Stream ids and their tombstones; grows, and loses nothing."""

    __slots__ = ("_counts", "_ids", "_places", "_secret", "_seqs")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._ids = array("Q")
        self._seqs = array("Q")
        self._counts = array("I")
        self._places = array("I", bytes(4 * FIRST_SIZE))
        """Of each hash value: 1 + the position of its entry, 0 where there is none."""

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, stream_id: int) -> Tombstone | None:
        """Return the entry of this id."""
        entry = self._places[self._place(stream_id)]
        if not entry:
            return None
        return Tombstone(self._seqs[entry - 1], *self._counts[4 * entry - 4 : 4 * entry])

    def put(self, stream_id: int, tombstone: Tombstone) -> None:
        """Add an entry, or replace the one of the same id."""
        seq, *counts = tombstone
        seq = min(seq, MAX_SEQ)
        numbers = array("I", [count % MODULUS for count in counts])
        place = self._place(stream_id)
        entry = self._places[place]
        if entry:
            self._seqs[entry - 1] = seq
            self._counts[4 * entry - 4 : 4 * entry] = numbers
            return
        self._ids.append(stream_id)
        self._seqs.append(seq)
        self._counts.extend(numbers)
        self._places[place] = len(self._ids)
        if 2 * len(self._ids) > len(self._places):
            self._grow()

    def _place(self, stream_id: int) -> int:
        """Return where the id is, or would be put."""
        places, ids = self._places, self._ids
        last = len(places) - 1
        place = hash(self._secret + stream_id.to_bytes(8)) & last
        while (entry := places[place]) and ids[entry - 1] != stream_id:
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        self._places = array("I", bytes(8 * len(self._places)))
        for entry, stream_id in enumerate(self._ids, start=1):
            self._places[self._place(stream_id)] = entry


class Tombstones:
    """The latest streams that were forgotten: at most `limit`, at least the latest half of it.

    Args:
        limit: How many are remembered, at least 2.
        secret: Random bytes.
        now: Since when nothing has been forgotten.
    """

    def __init__(self, limit: int, secret: bytes, now: float) -> None:
        self._half = max(1, limit // 2)
        self._secret = secret
        self._young = _Table(secret)
        self._old = _Table(secret)
        self._young_since = now
        self.complete_since = now
        """Every stream that was forgotten since this time is still here."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, stream_id: int) -> Tombstone | None:
        """Return what is remembered of a stream."""
        return self._young.get(stream_id) or self._old.get(stream_id)

    def put(self, stream_id: int, tombstone: Tombstone, now: float) -> None:
        """Remember a stream, and forget the oldest half when there are too many."""
        if len(self._young) >= self._half:
            self.complete_since = self._young_since
            self._young_since = now
            self._old, self._young = self._young, _Table(self._secret)
        self._young.put(stream_id, tombstone)
