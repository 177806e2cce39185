"""What does a receiver know about one stream, and what does a datagram change in it?

Composition of the three small machines: which datagrams are here (`ReceiveWindow`), which records
that leaves out (`RecordLedger`), and which batches are still in pieces (`StreamReassembly`).

Identity R holds after every call. Records enter `pending` when a datagram claims them, and leave
it for exactly one of `delivered`, `rejected`, `lost` and `abandoned`; those that nothing has
claimed are in a gap of the ledger.

The two modes differ in what becomes of gaps. One-way: what is missing is lost after a while, and
the window moves on. Acknowledged: what is missing will be sent again, until the sender gives it
up; and a datagram is final only when its records are handled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.reassembly import (
    Budget,
    Group,
    ReassemblyLimits,
    StreamReassembly,
)
from batchudp_handler.core.receive.stats import Address, StreamStats
from batchudp_handler.core.receive.tombstones import Tombstone
from batchudp_handler.core.receive.window import LOSS_DELAY, Place, ReceiveWindow, RecordLedger
from batchudp_handler.core.wire.constants import MODULUS, WINDOW_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.wire.datagram import Header, Sync

__all__ = ["Arrival", "Shared", "Stream"]

START_SLACK = 1024
"""Datagrams before the first one of a one-way stream that are still taken for a while."""
GAPS_GUARANTEED = 64
"""Gaps that each stream may have, whatever others use."""
VANISHED_AFTER = 3
"""Promised intervals of silence."""
ALLOWANCE_LIMIT = 1 << 20
"""Bytes of acks that can be saved up."""
SMALLEST_ALLOWANCE = 256
"""A datagram pays for at least its two acks, held and final, however small it is."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Budgets that all streams draw from."""

    limits: ReassemblyLimits
    reassembly: Budget
    gaps: Budget


class Arrival(NamedTuple):
    """A batch that is complete."""

    seq: int
    """Of its first datagram."""
    body: bytes


@dataclass(slots=True, eq=False)
class Stream:
    """One sender's datagrams, as seen by this receiver."""

    stream_id: int
    address: Address
    key_id: int
    acknowledged: bool
    window: ReceiveWindow
    ledger: RecordLedger
    reassembly: StreamReassembly
    shared: Shared
    created: float
    last_seen: float
    last_data: float
    deadline: float = inf
    """When the receiver must look at this stream, if nothing happens before."""

    # records
    pending: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Batches with the handlers: first seq to (datagrams, records)."""
    pending_records: int = 0
    """In these batches and in unfinished groups."""
    delivered: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    abandoned: int = 0
    late: int = 0
    newly_lost: int = 0
    """Declared lost, and no event has told of it yet."""
    duplicates: int = 0
    dropped_told: int = 0
    possibly_duplicate: int = 0
    base_delivered: int = 0
    base_rejected: int = 0
    base_dropped: int = 0
    """Settled, and told, before the receiver forgot this stream and met it again."""
    is_return: bool = False
    """It was met before, and what is known of it begins where it was then."""

    # datagrams
    duplicate_datagrams: int = 0
    datagrams_received: int = 0
    bytes_received: int = 0
    gaps_counted: int = 0
    sent_before: int = 0
    """Datagrams below this number may have reached an earlier life of the receiver."""
    address_changes: int = 0

    # as the sender says
    sync_counter: int = -1
    promise: float = 0.0
    max_datagram: int = 0
    closing: bool = False
    resumed: bool = False
    ended: str | None = None

    # acks
    allowance: int = 0
    """Bytes that may be sent back."""
    received_since_ack: int = 0
    handled_since_ack: int = 0

    @classmethod
    def one_way(
        cls,
        header: Header,
        address: Address,
        *,
        next_seq: int,
        next_rec: int,
        shared: Shared,
        now: float,
        is_return: bool = False,
    ) -> Stream:
        """A stream that begins about where its first datagram is, or where it was before."""
        slack = 0 if is_return else min(next_seq, START_SLACK)
        return cls(
            header.stream_id,
            address,
            header.key_id,
            acknowledged=False,
            window=ReceiveWindow(next_seq - slack),
            ledger=RecordLedger(next_seq, next_rec, lead=slack, now=now),
            reassembly=StreamReassembly(shared.limits, shared.reassembly),
            shared=shared,
            created=now,
            last_seen=now,
            last_data=now,
            is_return=is_return,
        )

    @classmethod
    def from_sync(
        cls, header: Header, address: Address, sync: Sync, *, shared: Shared, now: float
    ) -> Stream:
        """An acknowledged stream, which begins where the sender says."""
        lead = sync.next_seq - sync.floor
        return cls(
            header.stream_id,
            address,
            header.key_id,
            acknowledged=True,
            window=ReceiveWindow(sync.floor),
            ledger=RecordLedger(sync.next_seq, sync.next_rec, lead=lead, now=now),
            reassembly=StreamReassembly(shared.limits, shared.reassembly),
            shared=shared,
            created=now,
            last_seen=now,
            last_data=now,
        )

    def check_belongs(self, header: Header, *, acknowledged: bool) -> None:
        """Raise `DecodeError` when a datagram can not be of this stream."""
        if acknowledged != self.acknowledged:
            raise DecodeError(Reason.MALFORMED, "another delivery mode")
        if header.key_id != self.key_id and not self.resumed:
            raise DecodeError(Reason.AUTH_FAILED, "another key")

    def touch(self, size: int, now: float) -> None:
        """A datagram of this stream has proved right."""
        self.datagrams_received += 1
        self.bytes_received += size
        self.last_seen = now
        self.allowance = min(self.allowance + max(size, SMALLEST_ALLOWANCE), ALLOWANCE_LIMIT)

    # DATA

    def receive_data(
        self, header: Header, body: bytes, now: float, *, has_room: bool
    ) -> Arrival | None:
        """Take a datagram.

        Returns:
            The batch that it completes; None for a duplicate or one fragment of several.

        Raises:
            DecodeError: refused. If it may be sent again, it is as if it had never come.
        """
        seq = header.seq
        place = self.window.place(seq)
        if place is Place.DUPLICATE:
            self._count_duplicate(header)
            return None
        if place is Place.BEYOND and self.acknowledged:
            raise DecodeError(Reason.BEYOND_WINDOW)
        if header.frag_count > 1:
            return self._receive_fragment(header, body, now)
        if not has_room:
            raise DecodeError(Reason.NO_ROOM)
        self._claim(seq, seq + 1, header, now)
        self._mark(seq)
        self.last_data = now
        self.pending[seq] = 1, header.n_rec
        return Arrival(seq, body)

    def _count_duplicate(self, header: Header) -> None:
        self.duplicate_datagrams += 1
        if header.frag_index == 0:
            self.duplicates += header.n_rec

    def _claim(self, start: int, end: int, header: Header, now: float) -> None:
        """Take the records of a datagram or group out of the unknown."""
        ledger = self.ledger
        if start != ledger.next_seq and ledger.adds_gap(start, end):
            self._make_room_for_gap()
        self.late += ledger.claim(start, end, header.rec, header.n_rec, now)
        self.pending_records += header.n_rec
        if start < self.sent_before:
            self.possibly_duplicate += header.n_rec
        if ledger.gaps or self.gaps_counted:
            self._settle_gaps()

    def _make_room_for_gap(self) -> None:
        """Bound the memory for gaps: a hostile stream could have thousands."""
        gaps = self.ledger.gaps
        if len(gaps) < GAPS_GUARANTEED or self.shared.gaps.fits(1):
            return
        if self.acknowledged:
            raise DecodeError(Reason.NO_ROOM, "gaps")
        self._slide_to(gaps[0].end)

    def _settle_gaps(self) -> None:
        """After a change of the ledger: apply what was given up, and keep the budget."""
        if self.acknowledged:
            self.abandoned += self.ledger.abandon_below(self.window.given_up)
        count = len(self.ledger.gaps)
        self.shared.gaps.used += count - self.gaps_counted
        self.gaps_counted = count

    def _mark(self, seq: int) -> None:
        if self.acknowledged:
            self.window.mark(seq)
            return
        if seq - self.window.floor >= WINDOW_SIZE:
            self._slide_to(seq - WINDOW_SIZE + 1)
        self.window.mark_final(seq)

    def _slide_to(self, floor: int) -> None:
        """One-way: what is missing below has had its time."""
        self.newly_lost += self.ledger.lose_below(floor)
        self.window.slide_to(floor)
        self._settle_gaps()

    # fragments

    def _receive_fragment(self, header: Header, body: bytes, now: float) -> Arrival | None:
        key = header.seq - header.frag_index
        is_known = key in self.reassembly.groups
        try:
            group = self.reassembly.add(header, body, now, self.max_datagram)
        except DecodeError as error:
            self._on_bad_fragment(header, error.reason, is_known=is_known, now=now)
            raise
        if not is_known:
            self._admit(group, now)
        self._mark(header.seq)
        self.last_data = now
        if not group.is_complete:
            return None
        self.reassembly.remove(key)
        self.pending[key] = header.frag_count, header.n_rec
        return Arrival(key, group.join())

    def _admit(self, group: Group, now: float) -> None:
        """Claim the records of a new group; without that it is not admitted."""
        try:
            self._claim(group.key, group.end, group.first, now)
        except DecodeError:
            self.reassembly.remove(group.key)
            raise
        if self.acknowledged and group.key < self.window.given_up:
            # its missing fragments will not come any more; this one is handed in late
            self._abandon(group)
            raise DecodeError(Reason.BEYOND_WINDOW, "given up")

    def _on_bad_fragment(
        self, header: Header, reason: Reason, *, is_known: bool, now: float
    ) -> None:
        """Reject the group for good when no later fragment could save it."""
        key = header.seq - header.frag_index
        if reason is Reason.GROUP_MISMATCH and is_known:
            group = self.reassembly.groups[key]
            self._drop_group(group)
            self._count_rejected(reason, group.first.n_rec)
        elif reason is Reason.INFLATE_LIMIT:
            if is_known:
                self._drop_group(self.reassembly.groups[key])
            else:
                self._claim(key, key + header.frag_count, header, now)
                self._finish_claimed(key, header.frag_count, header.n_rec)
            self._count_rejected(reason, header.n_rec)

    def _drop_group(self, group: Group) -> None:
        self.reassembly.remove(group.key)
        self._finish_claimed(group.key, group.first.frag_count, group.first.n_rec)

    def _finish_claimed(self, seq: int, count: int, n_rec: int) -> None:
        """Datagrams are final without handlers; the caller says what becomes of the records."""
        self.pending_records -= n_rec
        if not self.acknowledged and seq + count - self.window.floor > WINDOW_SIZE:
            self._slide_to(seq + count - WINDOW_SIZE)
        self.window.finish(seq, count)

    def _abandon(self, group: Group) -> None:
        self._drop_group(group)
        self.abandoned += group.first.n_rec

    def _count_rejected(self, reason: str, records: int) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + records

    # the handlers have returned

    def on_handled(self, seq: int, delivered: int, rejected: Mapping[str, int]) -> None:
        """A batch is final. Records that nobody accounts for are rejected as `record_count`."""
        count, n_rec = self.pending[seq]
        rest = n_rec - delivered - sum(rejected.values())
        if rest < 0 or delivered < 0:
            raise ValueError(f"{n_rec} records were to be handled, not {n_rec - rest}")
        del self.pending[seq]
        self.pending_records -= n_rec
        self.delivered += delivered
        for reason, records in rejected.items():
            if records:
                self._count_rejected(str(reason), records)
        if rest:
            self._count_rejected(Reason.RECORD_COUNT, rest)
        if self.acknowledged:
            self.window.finish(seq, count)
            self.handled_since_ack += 1

    # SYNC

    def receive_sync(self, counter: int, sync: Sync, now: float) -> int:
        """Learn where the sender stands; return how many more records it has dropped."""
        if counter <= self.sync_counter:
            raise DecodeError(Reason.REPLAYED, "SYNC")
        self.ledger.extend(sync.next_seq, sync.next_rec, now)
        self.sync_counter = counter
        self.promise = sync.promise_ms / 1000
        self.max_datagram = sync.max_datagram
        self.resumed = self.resumed or sync.resumed
        self.closing = self.closing or sync.closing
        if self.acknowledged:
            self._give_up_below(sync.floor)
        self._settle_gaps()
        dropped = (sync.dropped_records - self.dropped_told) % MODULUS
        if dropped >= MODULUS // 2:
            return 0
        self.dropped_told += dropped
        return dropped

    def _give_up_below(self, floor: int) -> None:
        """The sender holds nothing below: unfinished groups there stay unfinished."""
        for group in list(self.reassembly.groups.values()):
            reach = min(floor - group.key, group.first.frag_count)
            if any(index not in group.parts for index in range(reach)):
                self._abandon(group)
        self.window.give_up_below(floor)

    # time

    def on_time(self, now: float) -> None:
        """One-way: declare what has been missing for too long."""
        if self.acknowledged:
            return
        for group in self.reassembly.expired(now):
            self._drop_group(group)
            self.ledger.lost += group.first.n_rec
            self.newly_lost += group.first.n_rec
        if now >= self.created + LOSS_DELAY:
            lead = self.ledger.drop_lead()
            if lead is not None:
                self.window.finish(lead.start, lead.end - lead.start)
        self.newly_lost += self.ledger.declare(now)
        self._settle_gaps()

    def vanish_time(self) -> float:
        """When silence will have lasted too long for what was promised."""
        return self.last_seen + VANISHED_AFTER * self.promise if self.promise else inf

    def loss_time(self) -> float:
        """When `on_time` has something to do next."""
        if self.acknowledged:
            return inf
        times = [self.ledger.declare_time(), self.reassembly.expiry_time()]
        if self.ledger.has_lead:
            times.append(self.created + LOSS_DELAY)
        return min((time for time in times if time is not None), default=inf)

    @property
    def is_settled(self) -> bool:
        """Whether everything known to have been sent has found its end."""
        if self.pending_records or self.reassembly.groups:
            return False
        if self.acknowledged:
            return self.window.floor >= self.ledger.next_seq
        return not self.ledger.missing and not self.ledger.has_lead

    @property
    def is_complete(self) -> bool:
        """Whether a tombstone can take its place: nothing that may still come is wanted."""
        if self.pending or not self.is_settled:
            return False
        return self.acknowledged or not self.ledger.gaps

    def tombstone(self) -> Tombstone:
        """What is to be remembered when the stream is forgotten."""
        return Tombstone(
            self.window.floor if self.acknowledged else self.ledger.next_seq,
            self.ledger.next_rec,
            self.base_delivered + self.delivered,
            self.base_rejected + sum(self.rejected.values()),
            self.dropped_told,
        )

    def release(self) -> None:
        """The stream is forgotten: give its room back, and let nothing wait for ever."""
        for group in list(self.reassembly.groups.values()):
            self._drop_group(group)
            if self.acknowledged:
                self.ledger.missing += group.first.n_rec
            else:
                self.ledger.lost += group.first.n_rec
                self.newly_lost += group.first.n_rec
        if not self.acknowledged:
            self.newly_lost += self.ledger.declare(inf)
        self.shared.gaps.used -= self.gaps_counted
        self.gaps_counted = 0

    @property
    def _unseen_before_start(self) -> int:
        return 0 if self.acknowledged or self.is_return else max(0, self.ledger.first_rec)

    def stats(self, now: float) -> StreamStats:
        """A snapshot for people."""
        ledger = self.ledger
        return StreamStats(
            stream_id=self.stream_id,
            address=self.address,
            key_id=self.key_id,
            acknowledged=self.acknowledged,
            first_rec=ledger.first_rec,
            next_rec=ledger.next_rec,
            delivered=self.delivered,
            rejected=dict(self.rejected),
            lost=ledger.lost,
            missing=ledger.missing,
            abandoned=self.abandoned,
            pending=self.pending_records,
            late=self.late,
            duplicates=self.duplicates,
            duplicate_datagrams=self.duplicate_datagrams,
            sender_dropped=(self.dropped_told - self.base_dropped) % MODULUS,
            unseen_before_start=self._unseen_before_start,
            possibly_duplicate=self.possibly_duplicate,
            address_changes=self.address_changes,
            datagrams_received=self.datagrams_received,
            bytes_received=self.bytes_received,
            age=now - self.created,
            idle=now - self.last_seen,
            tail_unknown=self.ended is not None and not self.closing,
            resumed=self.resumed,
            ended=self.ended,
        )
