"""The datagrams of an acknowledged stream, from sealing until they are settled.

The outbox fills a `SendWindow` from the splitter: a datagram at a time, as far as memory and the
window allow. Sealed bytes never change. Where they have become too large for the path, the records
in them leave again under other numbers, in fragments; what is given up (no room, lost from the
spool) keeps its number until the floor reaches it. The receiver learns of both from SYNC's floor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.splitter import fragments
from batchudp_handler.core.send.storage import BATCH, Storage, StoragePolicy, StoredDatagram
from batchudp_handler.core.send.window import DatagramState, RetainedDatagram, SendWindow
from batchudp_handler.core.wire.constants import MAX_FRAGMENTS, WINDOW_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.outgoing import OutgoingStream, SealedGroup
    from batchudp_handler.core.send.splitter import Splitter
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["Outbox"]

MAX_SPOOLED = 1 << 16
"""Datagrams above the floor, with a spool. Without one the receiver's window is the limit."""


class Outbox:
    """Seals datagrams, keeps them, and seals them again where they are too large."""

    def __init__(
        self,
        stream: OutgoingStream,
        splitter: Splitter,
        counters: SenderCounters,
        *,
        max_datagram_size: int,
        max_retained_bytes: int,
        storage: StoragePolicy,
    ) -> None:
        self.window = SendWindow()
        self.storage = Storage(self.window, storage, max_retained_bytes)
        self.size = max_datagram_size
        self.is_resumed = False
        self.splitter = splitter
        self._stream = stream
        self._counters = counters

    # filling

    @property
    def has_room(self) -> bool:
        """Whether one more group of datagrams may be sealed."""
        limit = WINDOW_SIZE if self.storage.policy is StoragePolicy.OFF else MAX_SPOOLED
        return (
            len(self.window) < limit - MAX_FRAGMENTS
            and self.window.retained_bytes < self.storage.max_retained
        )

    def should_seal_ahead(self, *, is_open: bool) -> bool:
        """Return whether a datagram should be sealed that cannot be sent yet.

        A full one may as well be: compressed it takes less memory. A small one is worth it only
        where the spool can keep it if this process dies.
        """
        pending = len(self.splitter)
        if not pending or not self.has_room:
            return False
        return pending >= self.splitter.full_batch or self.storage.is_needed(is_open=is_open)

    @property
    def next_size(self) -> int:
        """About how many bytes the next datagram will have."""
        share = min(len(self.splitter) / self.splitter.full_batch, 1.0)
        return int(share * self.size)

    def seal_next(self, now: float) -> None:
        """Seal the next records."""
        sealed = self.splitter.next_sealed(
            lambda group: self._stream.seal_group(
                group.codec, group.bodies, len(group.snapshots), now
            )
        )
        if sealed is not None:
            self._append(sealed[1], now)

    def _append(self, group: SealedGroup, now: float) -> None:
        last = len(group.datagrams) - 1
        for index, data in enumerate(group.datagrams):
            self.window.append(
                RetainedDatagram(
                    group.first_seq + index,
                    records=group.n_rec if index == last else 0,
                    n_rec=group.n_rec,
                    end_rec=group.first_rec + group.n_rec,
                    data=data,
                    size=len(data),
                    sealed=now,
                )
            )

    # the next one to send

    def head(self, limit: int, now: float) -> RetainedDatagram | None:
        """Return the oldest datagram to send below `limit`, made to fit the path."""
        while True:
            head = self.window.peek()
            if head is None or head.data is None or head.seq >= limit:
                return None
            if head.size <= self.size:
                return head
            if not self._reseal(head, now):
                return None

    def set_size(self, size: int) -> None:
        """Use another size; what is too big is queued, and sealed again when its turn comes."""
        self.size = size
        for each in self.window:
            if each.size > size:
                self.window.requeue(each)

    def _reseal(self, head: RetainedDatagram, now: float) -> bool:
        """Cut sealed bytes into fragments that fit; return whether that could be done.

        The records in them stay as they are encoded. The receiver may have had the old datagrams
        already: these are the only copies that no restart has caused.
        """
        assert head.data is not None
        header = self._stream.header_of(head.data)
        parts = self._parts_of(head, header)
        if len(parts) < header.frag_count:
            # the spool has lost one, or the receiver, which is wrong, calls it final
            self._drop_group(head, "oversize")
            return True
        if not self._are_at_hand(parts):
            return False
        bodies = fragments(
            b"".join(self._stream.open_own(part.data or b"") for part in parts),
            self.size - self._stream.overhead,
        )
        if any(part.sent_count for part in parts):
            self._counters.resealed += header.n_rec
        for part in parts:
            self.window.abandon(part)
        if len(bodies) > MAX_FRAGMENTS:
            self._counters.drop("oversize", header.n_rec)
        else:
            self._append(self._stream.seal_group(header.codec, bodies, header.n_rec, now), now)
        return True

    def _parts_of(self, datagram: RetainedDatagram, header: Header) -> list[RetainedDatagram]:
        """Return the fragments of a datagram's group that are not settled or given up."""
        first = datagram.seq - header.frag_index
        return self._unsettled(range(first, first + header.frag_count))

    def _unsettled(self, seqs: range) -> list[RetainedDatagram]:
        """Return those of these datagrams that are neither settled nor given up."""
        found = map(self.window.get, seqs)
        return [each for each in found if each and each.state is not DatagramState.ABANDONED]

    def _are_at_hand(self, parts: list[RetainedDatagram]) -> bool:
        """Return whether the spool has none of these; have it asked for those that it has."""
        away = [part for part in parts if part.data is None]
        for part in away:
            self.window.requeue(part)
        return not away

    # giving up

    def drop_oldest(self, limit: int, cause: str) -> None:
        """Give up about so many records that only memory has, datagram by datagram.

        Of a datagram that was sent, nobody knows whether it arrived: it is not "dropped".
        """
        for each in list(self.window):
            if limit <= 0:
                return
            if each.is_stored or each.state is DatagramState.ABANDONED:
                continue
            limit -= each.n_rec
            if each.sent_count:
                self._give_up_group(each)
            else:
                self._drop_group(each, cause)
        self.splitter.drop_oldest(limit, cause)

    def _give_up_group(self, datagram: RetainedDatagram) -> None:
        for part in self._group_of(datagram):
            self._counters.unconfirmed += part.records
            self.window.abandon(part)

    def give_up(self) -> None:
        """Count everything that only memory has; leave the rest to another process."""
        self.splitter.drop_oldest(len(self.splitter), "closed")
        self._counters.unconfirmed += self.window.retained_records
        for each in list(self.window):
            if not each.is_stored:
                self.window.abandon(each)

    def _drop_group(self, datagram: RetainedDatagram, cause: str) -> None:
        """Give up a datagram and, if it is a fragment, the rest of its record."""
        for part in self._group_of(datagram):
            self._counters.drop(cause, part.records)
            self.window.abandon(part)

    def _group_of(self, datagram: RetainedDatagram) -> list[RetainedDatagram]:
        """Return what carries the same records and still counts: neighbours of one ordinal."""
        first = last = datagram.seq
        while self._has_end_rec(first - 1, datagram.end_rec):
            first -= 1
        while self._has_end_rec(last + 1, datagram.end_rec):
            last += 1
        return self._unsettled(range(first, last + 1))

    def _has_end_rec(self, seq: int, end_rec: int) -> bool:
        datagram = self.window.get(seq)
        return datagram is not None and datagram.end_rec == end_rec

    # the spool

    def to_store(self, now: float, *, is_open: bool) -> list[StoredDatagram]:
        """Return the next datagrams to store.

        They are sealed here where nothing can be sent: there may be no socket to offer them to.
        """
        if self.storage.is_needed(is_open=is_open):
            for _ in range(BATCH):
                if not self.should_seal_ahead(is_open=is_open):
                    break
                self.seal_next(now)
        return self.storage.to_store(now, is_open=is_open)

    def on_loaded(self, seq: int, data: bytes | None) -> None:
        """Take bytes back from the spool, or learn that they are lost."""
        datagram = self.window.get(seq)
        if datagram is None or datagram.data is not None:
            return
        if data is None:
            self._drop_group(datagram, "spool_corrupt")
        else:
            self.window.load(datagram, data)

    def on_spool_dropped(self, first_seq: int, last_seq: int, cause: str) -> None:
        """Give up what the spool has deleted and memory has not."""
        for seq in range(max(first_seq, self.window.floor), last_seq + 1):
            datagram = self.window.get(seq)
            if datagram is None:
                continue
            if datagram.data is None:
                self._drop_group(datagram, cause)
            else:
                self.window.unstore(datagram)

    def resume(self, stored: Iterable[tuple[Header, int]], now: float) -> None:
        """Take up what another process left in the spool."""
        self.is_resumed = True
        groups: dict[int, tuple[Header, int]] = {}
        for header, size in stored:
            first = header.seq - header.frag_index
            groups[first] = (header, groups.get(first, (header, 0))[1] + 1)
            if not self.window.next_seq:
                self.window = SendWindow(header.seq)
                self.storage = self.storage.for_window(self.window)
            self._resume_gap(header)
            is_last = header.frag_index == header.frag_count - 1
            each = RetainedDatagram(
                header.seq,
                records=header.n_rec if is_last else 0,
                n_rec=header.n_rec,
                end_rec=header.rec + header.n_rec,
                data=None,
                size=size,
                sealed=now,
            )
            each.is_stored = True
            self.window.append(each)
            self._stream.next_rec = each.end_rec
        self._drop_torn_groups(groups)
        self._stream.continue_at(self.window.next_seq, now)
        self.window.sent_end = self.window.next_seq
        self.window.sent_end_rec = self._stream.next_rec

    def _drop_torn_groups(self, groups: dict[int, tuple[Header, int]]) -> None:
        """Give up records of which the spool has lost a fragment: nobody could join them."""
        for header, present in groups.values():
            datagram = self.window.get(header.seq)
            if present < header.frag_count and datagram is not None:
                self._drop_group(datagram, "spool_corrupt")

    def _resume_gap(self, header: Header) -> None:
        """Number the datagrams that the spool has lost; nothing waits for them."""
        for seq in range(self.window.next_seq, header.seq):
            missing = RetainedDatagram(
                seq, records=0, n_rec=0, end_rec=header.rec, data=None, size=0, sealed=0.0
            )
            missing.state = DatagramState.ABANDONED
            self.window.append(missing)
