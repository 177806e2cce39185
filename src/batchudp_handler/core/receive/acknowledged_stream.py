"""An acknowledged stream: what is missing will be sent again, until the sender gives it up.

A datagram is final only when its records are handled, and the floor of the window says up to
where all are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, ClassVar, Self

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.receive.ledger import RecordLedger
from batchudp_handler.core.receive.stream import Stream
from batchudp_handler.core.receive.window import ReceiveWindow

if TYPE_CHECKING:
    from batchudp_handler.core.receive.reassembly import Group, SharedBudgets
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.receive.tombstones import Tombstone
    from batchudp_handler.core.wire.datagram import Header
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["AckState", "AcknowledgedStream"]

ALLOWANCE_LIMIT = 1 << 20
"""Bytes of acks that can be saved up."""
SMALLEST_ALLOWANCE = 256
"""A datagram pays for at least its two acks, held and final, however small it is."""
ACK_EVERY_RECEIVED = 8
ACK_EVERY_HANDLED = 16


@dataclass(slots=True)
class AckState:
    """When a stream is to be answered, and how much it may be answered."""

    allowance: int = 0
    """Bytes that may be sent back: never more than came from the address."""
    received: int = 0
    """Datagrams since the latest ack."""
    handled: int = 0
    """Batches since the latest ack."""

    def add_allowance(self, size: int) -> None:
        """Let a datagram of this size pay for acks."""
        self.allowance = min(self.allowance + max(size, SMALLEST_ALLOWANCE), ALLOWANCE_LIMIT)

    @property
    def is_due(self) -> bool:
        """Whether so much has come that the sender is answered before the socket is empty."""
        return self.received >= ACK_EVERY_RECEIVED

    def spend(self, size: int) -> bool:
        """Pay for an ack of this size; return False when that is not allowed yet."""
        if size > self.allowance:
            return False
        self.allowance -= size
        self.received = self.handled = 0
        return True


@dataclass(slots=True, eq=False)
class AcknowledgedStream(Stream):
    """A stream whose sender keeps every datagram until an ack says that it is final."""

    acknowledged: ClassVar[bool] = True

    acks: AckState = field(default_factory=AckState)

    @classmethod
    def begin(
        cls,
        header: Header,
        address: Address,
        sync: Sync,
        *,
        budgets: SharedBudgets,
        now: float,
        before: Tombstone | None = None,
        sent_before: int = 0,
    ) -> Self:
        """Begin where the sender says, but not before what is known to be final."""
        floor = sync.floor if before is None else max(sync.floor, before.next_seq)
        stream = cls(
            header.stream_id,
            address,
            header.key_id,
            window=ReceiveWindow(floor),
            ledger=RecordLedger(sync.next_seq, sync.next_rec, lead=sync.next_seq - floor, now=now),
            budgets=budgets,
            created=now,
            before=before,
        )
        stream.records.sent_before = sent_before
        return stream

    def move_to(self, address: Address) -> None:
        """Follow the sender to another address, which has paid for no answer yet."""
        Stream.move_to(self, address)
        self.acks.allowance = 0

    # DATA

    def _on_beyond_window(self) -> None:
        raise DecodeError(Reason.BEYOND_WINDOW)

    def _on_too_many_gaps(self) -> None:
        raise DecodeError(Reason.NO_ROOM, "gaps")

    def _settle_gaps(self) -> None:
        self.records.abandon_below(self.window.given_up)
        self.records.charge_gaps()

    def _mark(self, seq: int) -> None:
        self.window.mark(seq)

    def _admit(self, group: Group, now: float) -> None:
        Stream._admit(self, group, now)
        if group.key < self.window.given_up:
            # its missing fragments will not come any more; this one is handed in late
            self._abandon(group)
            raise DecodeError(Reason.BEYOND_WINDOW, "given up")

    def _abandon(self, group: Group) -> None:
        self._drop_group(group)
        self.records.abandon_claimed(group.first.n_rec)

    def _on_final(self, seq: int, count: int) -> None:
        self.window.finish(seq, count)
        self.acks.handled += 1

    @property
    def wants_ack_of_handled(self) -> bool:
        """Whether so much was handled, or all of it, that the sender is to know it now."""
        return not self.records.batches or self.acks.handled >= ACK_EVERY_HANDLED

    # SYNC

    def _on_floor(self, floor: int) -> None:
        """Give up what the sender holds no more: unfinished groups there stay unfinished."""
        for group in list(self.reassembly.groups.values()):
            reach = min(floor - group.key, group.first.frag_count)
            if any(index not in group.parts for index in range(reach)):
                self._abandon(group)
        self.window.give_up_below(floor)

    def accept_earlier_counter(self, counter: int) -> None:
        """Let the next SYNC have this counter or a later one, although a later one was seen.

        Whoever takes up a stream from a spool counts on from a clock, which may be wrong.
        """
        self.report.counter = min(self.report.counter, counter - 1)

    # time and the end

    def handle_timeout(self, now: float) -> None:
        """Do nothing: what is missing is waited for."""

    def next_timeout(self) -> float:
        """Return infinity: nothing is ever due."""
        return inf

    @property
    def is_settled(self) -> bool:
        """Whether everything known to have been sent has found its end."""
        if self.records.pending or self.reassembly.groups:
            return False
        return self.window.floor >= self.ledger.next_seq

    @property
    def is_complete(self) -> bool:
        """Whether a tombstone can take its place: all below the floor is final."""
        return self.is_settled and not self.records.batches

    def _on_unfinished(self, group: Group) -> None:
        self.records.miss_claimed(group.first.n_rec)

    def _final_below(self) -> int:
        return self.window.floor
