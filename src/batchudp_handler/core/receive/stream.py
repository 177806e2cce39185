"""One sender's datagrams, as the receiver sees them: what both modes of delivery have in common.

A stream is made of small machines: which datagrams are here (`ReceiveWindow`), what has become of
their records (`RecordAccount`), which batches are still in pieces (`StreamReassembly`), and what
the sender says (`SenderReport`).

The modes differ in what becomes of gaps: see `one_way_stream` and `acknowledged_stream`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.reassembly import Group, SharedBudgets, StreamReassembly
from batchudp_handler.core.receive.record_account import NEVER_SEEN, RecordAccount
from batchudp_handler.core.receive.sender_report import SenderReport
from batchudp_handler.core.receive.stats import Address, EndReason, StreamStats
from batchudp_handler.core.receive.tombstones import Tombstone
from batchudp_handler.core.receive.window import Place, ReceiveWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.receive.ledger import RecordLedger
    from batchudp_handler.core.wire.datagram import Header
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["CompleteBatch", "Stream"]


class CompleteBatch(NamedTuple):
    """A batch of which every fragment has come."""

    seq: int
    """Of its first datagram."""
    body: bytes


@dataclass(slots=True, eq=False)
class Stream(ABC):
    """What a receiver knows of one stream."""

    acknowledged: ClassVar[bool]

    stream_id: int
    address: Address
    key_id: int
    window: ReceiveWindow
    ledger: RecordLedger
    budgets: SharedBudgets
    created: float
    before: Tombstone | None = None
    """Where it stood when the receiver forgot it, if it did; its numbers go on from there."""

    records: RecordAccount = field(init=False)
    reassembly: StreamReassembly = field(init=False)
    report: SenderReport = field(init=False)
    last_seen: float = field(init=False)
    last_data: float = field(init=False)
    deadline: float = inf
    """When the receiver must look at this stream, if nothing happens before."""
    ended: EndReason | None = None

    def __post_init__(self) -> None:
        """Make the parts that follow from the other fields."""
        before = self.before or NEVER_SEEN
        self.records = RecordAccount(self.ledger, self.budgets.gaps, before)
        self.reassembly = StreamReassembly(self.budgets.limits, self.budgets.reassembly)
        self.report = SenderReport(dropped=before.dropped)
        self.last_seen = self.last_data = self.created

    def check_key(self, header: Header) -> None:
        """Raise `DecodeError` when a datagram has another key than the stream."""
        if header.key_id != self.key_id and not self.report.resumed:
            raise DecodeError(Reason.AUTH_FAILED, "another key")

    def touch(self, size: int, now: float) -> None:
        """Count a datagram of this stream that has proved right."""
        counters = self.records.counters
        counters.datagrams_received += 1
        counters.bytes_received += size
        self.last_seen = now

    def move_to(self, address: Address) -> None:
        """Follow the sender to another address."""
        self.address = address
        self.records.counters.address_changes += 1

    # DATA

    def receive_data(
        self, header: Header, body: bytes, now: float, *, has_room: bool
    ) -> CompleteBatch | None:
        """Take a datagram.

        Returns:
            The batch that it completes; None for a duplicate or one fragment of several.

        Raises:
            DecodeError: refused. If it may be sent again, it is as if it had never come.
        """
        seq = header.seq
        place = self.window.place(seq)
        if place is Place.DUPLICATE:
            self.records.counters.add_duplicate(header)
            return None
        if place is Place.BEYOND:
            self._on_beyond_window()
        if header.frag_count > 1:
            return self._receive_fragment(header, body, now)
        if not has_room:
            raise DecodeError(Reason.NO_ROOM)
        self._claim(seq, seq + 1, header, now)
        self._mark(seq)
        self.last_data = now
        self.records.hand_out(seq, 1, header.n_rec)
        return CompleteBatch(seq, body)

    def _claim(self, start: int, end: int, header: Header, now: float) -> None:
        """Take the records of a datagram or group out of the unknown."""
        records, ledger = self.records, self.ledger
        if start != ledger.next_seq and records.lacks_room_for_gap(start, end):
            self._on_too_many_gaps()
        records.claim(start, end, header, now)
        if ledger.gaps or records.gaps_charged:
            self._settle_gaps()

    # fragments

    def _receive_fragment(self, header: Header, body: bytes, now: float) -> CompleteBatch | None:
        key = header.seq - header.frag_index
        known = self.reassembly.groups.get(key)
        try:
            group = self.reassembly.add(header, body, now, self.report.max_datagram)
        except DecodeError as error:
            self._on_bad_fragment(header, error.reason, known, now)
            raise
        if known is None:
            self._admit(group, now)
        self._mark(header.seq)
        self.last_data = now
        if not group.is_complete:
            return None
        self.reassembly.remove(key)
        self.records.hand_out(key, header.frag_count, header.n_rec)
        return CompleteBatch(key, group.join())

    def _admit(self, group: Group, now: float) -> None:
        """Claim the records of a new group; without that it is not admitted."""
        try:
            self._claim(group.key, group.end, group.first, now)
        except DecodeError:
            self.reassembly.remove(group.key)
            raise

    def _on_bad_fragment(
        self, header: Header, reason: Reason, known: Group | None, now: float
    ) -> None:
        """Reject the group for good when no later fragment could save it."""
        if reason is Reason.INFLATE_LIMIT and known is None:
            key = header.seq - header.frag_index
            self._claim(key, key + header.frag_count, header, now)
            self._finish(key, header.frag_count)
            self.records.reject(reason, header.n_rec)
        elif reason in (Reason.INFLATE_LIMIT, Reason.GROUP_MISMATCH) and known is not None:
            self._drop_group(known)
            self.records.reject(reason, known.first.n_rec)

    def _drop_group(self, group: Group) -> None:
        """Make all datagrams of a group final; the caller counts its records."""
        self.reassembly.remove(group.key)
        self._finish(group.key, group.first.frag_count)

    # the handlers have returned

    def on_handled(self, seq: int, delivered: int, rejected: Mapping[str, int]) -> None:
        """Settle a batch; see `RecordAccount.settle`."""
        self._on_final(seq, self.records.settle(seq, delivered, rejected))

    # SYNC

    def receive_sync(self, counter: int, sync: Sync, now: float) -> int:
        """Learn where the sender stands; return how many more records it has dropped."""
        self.report.check_new(counter)
        self.ledger.extend(sync.next_seq, sync.next_rec, now)
        dropped = self.report.update(counter, sync)
        self._on_floor(sync.floor)
        self._settle_gaps()
        return dropped

    # the end

    def tombstone(self) -> Tombstone:
        """Return what is to be remembered when the stream is forgotten."""
        return Tombstone(
            self._final_below(),
            self.ledger.next_rec,
            self.records.total_delivered,
            self.records.total_rejected,
            self.report.dropped,
        )

    def release(self) -> None:
        """Settle what is unfinished and give room back, because the stream is forgotten."""
        for group in list(self.reassembly.groups.values()):
            self._drop_group(group)
            self._on_unfinished(group)
        self.records.free_gaps()

    def stats(self, now: float) -> StreamStats:
        """Return the numbers at this moment."""
        records, ledger, report = self.records, self.ledger, self.report
        counters = records.counters
        return StreamStats(
            stream_id=self.stream_id,
            address=self.address,
            key_id=self.key_id,
            acknowledged=self.acknowledged,
            first_rec=ledger.first_rec,
            next_rec=ledger.next_rec,
            delivered=counters.delivered,
            rejected=dict(counters.rejected),
            lost=ledger.lost,
            missing=ledger.missing,
            abandoned=counters.abandoned,
            pending=records.pending,
            late=counters.late,
            duplicates=counters.duplicates,
            duplicate_datagrams=counters.duplicate_datagrams,
            sender_dropped=report.dropped_since(records.before.dropped),
            unseen_before_start=self._unseen_before_start(),
            possibly_duplicate=counters.possibly_duplicate,
            address_changes=counters.address_changes,
            datagrams_received=counters.datagrams_received,
            bytes_received=counters.bytes_received,
            age=now - self.created,
            idle=now - self.last_seen,
            tail_unknown=self.ended is not None and not report.closing,
            resumed=report.resumed,
            ended=self.ended,
        )

    # what each mode decides

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether everything known to have been sent has found its end."""

    @property
    @abstractmethod
    def is_complete(self) -> bool:
        """Whether a tombstone can take its place: nothing that may still come is wanted."""

    @abstractmethod
    def handle_timeout(self, now: float) -> None:
        """Do what has become due."""

    @abstractmethod
    def next_timeout(self) -> float:
        """Return when `handle_timeout` has something to do; infinite: never."""

    @abstractmethod
    def _on_beyond_window(self) -> None:
        """React to a datagram that is too far ahead for the window."""

    @abstractmethod
    def _on_too_many_gaps(self) -> None:
        """React to a datagram that would make more gaps than may be kept."""

    def _settle_gaps(self) -> None:
        """Settle the gaps after a change of the ledger."""
        self.records.charge_gaps()

    @abstractmethod
    def _mark(self, seq: int) -> None:
        """Mark a new datagram in the window."""

    def _finish(self, seq: int, count: int) -> None:
        """Make datagrams final without asking a handler."""
        self.window.finish(seq, count)

    @abstractmethod
    def _on_final(self, seq: int, count: int) -> None:
        """React to the end of a batch."""

    @abstractmethod
    def _on_floor(self, floor: int) -> None:
        """React to what the sender says it holds no more."""

    @abstractmethod
    def _on_unfinished(self, group: Group) -> None:
        """Count the records of a group that stays unfinished, because the stream is forgotten."""

    @abstractmethod
    def _final_below(self) -> int:
        """Return the sequence number below which everything is final."""

    def _unseen_before_start(self) -> int:
        """Return how many records were numbered before the first datagram that was seen."""
        return 0
