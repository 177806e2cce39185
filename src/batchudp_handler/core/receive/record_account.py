"""The account of the records of one stream: each has one fate.

Identity R holds after every call. Records enter `pending` when a datagram claims them, and leave
it for exactly one of `delivered`, `rejected`, `lost` and `abandoned`; those that nothing has
claimed are in a gap of the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import Reason
from batchudp_handler.core.receive.counters import StreamCounters
from batchudp_handler.core.receive.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.receive.ledger import RecordLedger
    from batchudp_handler.core.receive.reassembly import Budget
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["NEVER_SEEN", "RecordAccount"]

NEVER_SEEN = Tombstone(0, 0, 0, 0, 0)

GAPS_GUARANTEED = 64
"""Gaps that each stream may have, whatever others use."""


@dataclass(slots=True, eq=False)
class RecordAccount:
    """The ledger of one stream, and the counters of the records that left it."""

    ledger: RecordLedger
    gap_budget: Budget
    """Gaps of all streams together."""
    before: Tombstone = NEVER_SEEN
    """Where the stream stood when the receiver forgot it, if it did."""
    counters: StreamCounters = field(default_factory=StreamCounters)
    pending: int = 0
    """Records of batches that are with the handlers, and of unfinished groups."""
    batches: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Batches that are with the handlers: first sequence number to (datagrams, records)."""
    unreported_lost: int = 0
    """Records that were declared lost, and no event has told of it yet."""
    sent_before: int = 0
    """Datagrams below this number may have reached an earlier life of the receiver."""
    gaps_charged: int = 0
    """Gaps of this stream that are charged to the budget."""

    @property
    def total_delivered(self) -> int:
        """Records delivered, over all the times that the stream was in the table."""
        return self.before.delivered + self.counters.delivered

    @property
    def total_rejected(self) -> int:
        """Records rejected, over all the times that the stream was in the table."""
        return self.before.rejected + sum(self.counters.rejected.values())

    def lacks_room_for_gap(self, start: int, end: int) -> bool:
        """Return whether claiming these datagrams would make a gap that the budget forbids.

        A hostile stream could have thousands of gaps.
        """
        is_used_up = len(self.ledger.gaps) >= GAPS_GUARANTEED and not self.gap_budget.fits(1)
        return is_used_up and self.ledger.adds_gap(start, end)

    def claim(self, start: int, end: int, header: Header, now: float) -> None:
        """Take the records of a datagram or group out of the unknown.

        Raises:
            DecodeError: The numbers contradict what is known; nothing has changed then.
        """
        self.counters.late += self.ledger.claim(start, end, header.rec, header.n_rec, now)
        self.pending += header.n_rec
        if start < self.sent_before:
            self.counters.possibly_duplicate += header.n_rec

    def charge_gaps(self) -> None:
        """Bring the budget up to date after a change of the ledger."""
        count = len(self.ledger.gaps)
        self.gap_budget.used += count - self.gaps_charged
        self.gaps_charged = count

    def free_gaps(self) -> None:
        """Give the budget back, because the stream is forgotten."""
        self.gap_budget.used -= self.gaps_charged
        self.gaps_charged = 0

    def hand_out(self, seq: int, count: int, n_rec: int) -> None:
        """Note that a batch of `count` datagrams goes to the handlers."""
        self.batches[seq] = count, n_rec

    def settle(self, seq: int, delivered: int, rejected: Mapping[str, int]) -> int:
        """Count what the handlers did with a batch; return its number of datagrams.

        Records that are in neither number are rejected as `record_count`.

        Raises:
            ValueError: The numbers are impossible; nothing has changed then.
        """
        count, n_rec = self.batches[seq]
        rest = n_rec - delivered - sum(rejected.values())
        if rest < 0 or delivered < 0 or (rejected and min(rejected.values()) < 0):
            raise ValueError(f"{n_rec} records were to be handled, not {n_rec - rest}")
        del self.batches[seq]
        self.pending -= n_rec
        self.counters.delivered += delivered
        for reason, records in rejected.items():
            if records:
                self.counters.reject(str(reason), records)
        if rest:
            self.counters.reject(Reason.RECORD_COUNT, rest)
        return count

    # claimed records that no handler will see

    def reject(self, reason: str, records: int) -> None:
        """Reject claimed records without asking a handler."""
        self.pending -= records
        self.counters.reject(reason, records)

    def lose_claimed(self, records: int) -> None:
        """Count claimed records as lost."""
        self.pending -= records
        self.ledger.lost += records
        self.unreported_lost += records

    def miss_claimed(self, records: int) -> None:
        """Count claimed records as missing again."""
        self.pending -= records
        self.ledger.missing += records

    def abandon_claimed(self, records: int) -> None:
        """Count claimed records as abandoned."""
        self.pending -= records
        self.counters.abandoned += records

    # records in gaps

    def lose_below(self, seq: int) -> None:
        """Count as lost what is missing below `seq`, for good."""
        self.unreported_lost += self.ledger.lose_below(seq)

    def abandon_below(self, seq: int) -> None:
        """Count as abandoned what is missing below `seq`."""
        self.counters.abandoned += self.ledger.abandon_below(seq)

    def declare_lost(self, now: float) -> None:
        """Count as lost what has been missing for too long."""
        self.unreported_lost += self.ledger.declare(now)
