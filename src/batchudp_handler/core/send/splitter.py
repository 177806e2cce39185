"""Waiting records are cut into bodies that fit a datagram.

A datagram is full when its *compressed* body is, so nobody knows in advance how many records it
takes. The splitter keeps the bytes per record of what it packed last, guesses, encodes, and when
the guess was too high cuts once in proportion and from then on in halves. The number of attempts
is bounded by the logarithm of the batch, order is kept, and nothing is rendered twice: an attempt
encodes snapshots, whose texts are finished.

Work is done one group of datagrams per call, so that a flusher can let go of the interpreter
between two datagrams however long the queue is.

A record that does not fit alone is sent as fragments, up to `MAX_PAYLOAD` and `MAX_FRAGMENTS`.
Above that its texts are cut, visibly, and it is counted. A record that cannot be encoded at all,
for whatever reason, is dropped and counted (`encode_error`), and takes no other record with it. A
batch that fails twice in any other way is dropped and counted, too (`internal_error`): whatever is
wrong with it, it is not tried for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from batchudp_handler.core.records.snapshot import completed
from batchudp_handler.core.records.truncation import cut_records, shortened, truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchudp_handler.core.payload.encoded import Encoded, Encoder
    from batchudp_handler.core.records.batch import Captured, Snapshot
    from batchudp_handler.core.send.counters import SenderCounters

__all__ = ["MAX_PAYLOAD", "Group", "Splitter"]

MAX_PAYLOAD = 1 << 20
"""Bytes before compression: what a receiver agrees to inflate."""

MAX_RECORDS = 1024
"""Records of one datagram. Compression has nothing more to gain from a longer batch, and the
interpreter is held while one is encoded."""

FIRST_GUESS = 24.0
"""Compressed bytes per record, before anything was packed."""

FILL = 0.94
"""The share of a datagram that a guess aims at: the rest is for batches that pack worse."""

WORTH_GROWING = 0.5
"""A datagram filled less than this is encoded again with more records, if there are more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Group:
    """The bodies that carry one batch: one, or the fragments of one record."""

    codec: int
    bodies: tuple[bytes, ...]
    snapshots: tuple[Snapshot, ...]
    raw_size: int
    truncated: int = 0
    """Records with a text that was cut."""


class Splitter:
    """A queue of records that comes out as bodies that fit."""

    def __init__(
        self,
        encoder: Encoder,
        counters: SenderCounters,
        *,
        room: int,
        max_fragments: int,
    ) -> None:
        self._counters = counters
        self._pending: list[Captured] = []
        self._start = 0
        self._bytes_per_record = FIRST_GUESS
        self.dropped = 0
        """Records that were dropped here: they got no numbers."""
        self._has_failed = False
        """The batch in front was tried once, and something of our own went wrong."""
        self.max_batch = MAX_RECORDS
        """Records that one datagram may have."""
        self.has_more_to_come = False
        """More records follow at once: a datagram that is not full can wait for them."""
        self.configure(encoder, room=room, max_fragments=max_fragments)

    def configure(self, encoder: Encoder, *, room: int, max_fragments: int) -> None:
        """Use another encoding or size from the next group on.

        Args:
            encoder: makes a body of a batch.
            room: bytes that a body may have.
            max_fragments: how many datagrams a record that does not fit may take.
        """
        self._encoder = encoder
        self._room = room
        self._max_fragments = max_fragments

    def __len__(self) -> int:
        """Return the number of records that wait."""
        return len(self._pending) - self._start

    @property
    def full_batch(self) -> int:
        """How many records probably fill a datagram."""
        return max(1, min(int(FILL * self._room / self._bytes_per_record), self.max_batch))

    @property
    def is_ready(self) -> bool:
        """Whether the next datagram should be made now."""
        return len(self) >= (self.full_batch if self.has_more_to_come else 1)

    @property
    def appetite(self) -> int:
        """How many more records are of use: for two datagrams, since the guess may be too low."""
        full = self.full_batch
        return 2 * full - len(self) if len(self) < full else 0

    def append(self, snapshots: Sequence[Captured]) -> None:
        """Add records behind those that wait."""
        if self._start:
            del self._pending[: self._start]
            self._start = 0
        self._pending.extend(snapshots)

    def put_back(self, groups: Sequence[Group]) -> None:
        """Add records in front of those that wait: their datagram could not be sent."""
        self._counters.truncated -= sum(group.truncated for group in groups)
        self._pending[: self._start] = [one for group in groups for one in group.snapshots]
        self._start = 0

    def drop_oldest(self, limit: int, cause: str) -> int:
        """Drop up to `limit` records, and count them; return how many they were."""
        count = max(0, min(limit, len(self)))
        self._drop_first(cause, count)
        return count

    def next_sealed(self, seal: Callable[[Group], T]) -> tuple[Group, T] | None:
        """Encode the next records and have `seal` make datagrams of them; None: nothing waits.

        What raises in here passes. The records then stay for a second attempt, and are dropped
        and counted when that fails as well.
        """
        group = None
        try:
            group = self.next_group()
            sealed = None if group is None else (group, seal(group))
        except Exception:
            self._on_fault(group)
            raise
        self._has_failed = False
        return sealed

    def _on_fault(self, group: Group | None) -> None:
        if group is not None:
            self.put_back([group])
        if self._has_failed:
            failed = min(self.full_batch, len(self)) if group is None else len(group.snapshots)
            self._drop_first("internal_error", failed)
        self._has_failed = not self._has_failed

    def next_group(self) -> Group | None:
        """Encode the next records that together fit; None when nothing waits."""
        while len(self):
            group = self._fit(min(self.full_batch, len(self)))
            if group is not None:
                return group
        return None

    def _fit(self, count: int) -> Group | None:
        """Encode `count` records, or as many of them as fit; None if one had to be dropped."""
        cut: Callable[[int, float], int] = _cut_in_proportion
        while True:
            batch, encoded = self._attempt(count)
            excess = 2.0 if encoded is None else self._excess(encoded)
            if encoded is not None and excess <= 1.0:
                if count < len(self) and excess < WORTH_GROWING:
                    batch, encoded = self._grow(batch, encoded, excess)
                self._learn(len(batch), len(encoded.body))
                return self._take(batch, encoded, (encoded.body,))
            if count == 1:
                return self._fit_alone(batch[0], encoded)
            count = cut(count, excess)
            cut = _halve

    def _grow(
        self, batch: tuple[Snapshot, ...], encoded: Encoded, excess: float
    ) -> tuple[tuple[Snapshot, ...], Encoded]:
        """Take more records, once, where the guess was far too low."""
        count = min(int(FILL * len(batch) / max(excess, 0.01)), len(self), self.max_batch)
        if count <= len(batch):
            return batch, encoded
        larger, again = self._attempt(count)
        if again is None or self._excess(again) > 1.0:
            return batch, encoded
        return larger, again

    def _attempt(self, count: int) -> tuple[tuple[Snapshot, ...], Encoded | None]:
        end = self._start + count
        batch = tuple(completed(self._pending[self._start : end]))
        encoded = self._encode(batch)
        short = None if encoded is None else shortened(batch, encoded.raw_size)
        if short is not None:
            batch, encoded = short, self._encode(short)
        self._pending[self._start : end] = batch  # completed once, however often it is encoded
        return batch, encoded

    def _encode(self, batch: tuple[Snapshot, ...]) -> Encoded | None:
        try:
            return self._encoder(batch)
        except Exception:  # noqa: BLE001  # one record must not stop the others, whatever it does
            return None

    def _excess(self, encoded: Encoded) -> float:
        return max(len(encoded.body) / self._room, encoded.raw_size / MAX_PAYLOAD)

    def _learn(self, count: int, size: int) -> None:
        """Remember how well a batch packed, unless it was small for want of records."""
        if count >= self.full_batch or size > WORTH_GROWING * self._room:
            self._bytes_per_record = max(size / count, 0.01)

    def _take(
        self,
        batch: tuple[Snapshot, ...],
        encoded: Encoded,
        bodies: tuple[bytes, ...],
        *,
        is_cut: bool = False,
    ) -> Group:
        self._advance(len(batch))
        self._counters.batches += 1
        self._counters.bytes_raw += encoded.raw_size
        truncated = 1 if is_cut else cut_records(batch, encoded.raw_size)
        self._counters.truncated += truncated
        return Group(encoded.codec, bodies, batch, encoded.raw_size, truncated)

    # a record that does not fit alone

    def _fit_alone(self, snapshot: Snapshot, encoded: Encoded | None) -> Group | None:
        if encoded is None:
            self._drop_first("encode_error")
            return None
        is_cut = not self._is_fragmentable(encoded)
        if is_cut:
            encoded = self._encode_truncated(snapshot)
            if encoded is None:
                self._drop_first("oversize")
                return None
        bodies = fragments(encoded.body, self._room)
        self._counters.fragmented += len(bodies) > 1
        return self._take((snapshot,), encoded, bodies, is_cut=is_cut)

    def _is_fragmentable(self, encoded: Encoded) -> bool:
        capacity = self._room * self._max_fragments
        return len(encoded.body) <= capacity and encoded.raw_size <= MAX_PAYLOAD

    def _encode_truncated(self, snapshot: Snapshot) -> Encoded | None:
        characters = min(self._room * self._max_fragments, MAX_PAYLOAD)
        while characters:
            encoded = self._encode((truncate(snapshot, characters),))
            if encoded is not None and self._is_fragmentable(encoded):
                return encoded
            characters //= 2
        return None

    def _advance(self, records: int) -> None:
        self._start += records
        if self._start == len(self._pending):
            self._pending.clear()
            self._start = 0

    def _drop_first(self, cause: str, records: int = 1) -> None:
        self._advance(records)
        self.dropped += records
        self._counters.drop(cause, records)


def _cut_in_proportion(count: int, excess: float) -> int:
    return max(count // 2, min(int(FILL * count / excess), count - 1))


def _halve(count: int, _excess: float) -> int:
    return count // 2


def fragments(body: bytes, room: int) -> tuple[bytes, ...]:
    """Cut a body into pieces, all but the last of equal length."""
    return tuple(body[at : at + room] for at in range(0, len(body), room)) or (b"",)
