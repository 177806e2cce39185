"""A one-way stream: what is missing is lost after a while, and the window moves on.

The receiver may have started in the middle of the stream. So the first datagram that arrives
defines the beginning, and for two seconds datagrams that it has overtaken may still move it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, Self

from batchudp_handler.core.receive.ledger import LOSS_DELAY, RecordLedger
from batchudp_handler.core.receive.stream import Stream
from batchudp_handler.core.receive.window import ReceiveWindow
from batchudp_handler.core.wire.constants import WINDOW_SIZE

if TYPE_CHECKING:
    from batchudp_handler.core.receive.reassembly import Group, SharedBudgets
    from batchudp_handler.core.receive.stats import Address
    from batchudp_handler.core.receive.tombstones import Tombstone
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["OneWayStream"]

START_SLACK = 1024
"""Datagrams before the first one that are still taken for a while."""


@dataclass(slots=True, eq=False)
class OneWayStream(Stream):
    """A stream whose sender is never answered."""

    acknowledged: ClassVar[bool] = False

    @classmethod
    def begin(
        cls,
        header: Header,
        address: Address,
        *,
        next_seq: int,
        next_rec: int,
        budgets: SharedBudgets,
        now: float,
        before: Tombstone | None = None,
    ) -> Self:
        """Begin about where its first datagram is, or where it was when it was forgotten."""
        if before is not None:
            next_seq, next_rec = before.next_seq, before.next_rec
        slack = 0 if before is not None else min(next_seq, START_SLACK)
        return cls(
            header.stream_id,
            address,
            header.key_id,
            window=ReceiveWindow(next_seq - slack),
            ledger=RecordLedger(next_seq, next_rec, lead=slack, now=now),
            budgets=budgets,
            created=now,
            before=before,
        )

    # DATA

    def _on_beyond_window(self) -> None:
        """Take it: the window follows the newest datagram."""

    def _on_too_many_gaps(self) -> None:
        self._slide_to(self.ledger.gaps[0].end)

    def _mark(self, seq: int) -> None:
        if seq - self.window.floor >= WINDOW_SIZE:
            self._slide_to(seq - WINDOW_SIZE + 1)
        self.window.mark_final(seq)

    def _finish(self, seq: int, count: int) -> None:
        if seq + count - self.window.floor > WINDOW_SIZE:
            self._slide_to(seq + count - WINDOW_SIZE)
        self.window.finish(seq, count)

    def _slide_to(self, floor: int) -> None:
        """Move the window; what is missing below has had its time."""
        self.records.lose_below(floor)
        self.window.slide_to(floor)
        self._settle_gaps()

    def _on_final(self, seq: int, count: int) -> None:
        """Do nothing: its datagrams were final when they came."""

    def _on_floor(self, floor: int) -> None:
        """Do nothing: a sender that is never answered holds nothing."""

    # time

    def handle_timeout(self, now: float) -> None:
        """Declare lost what has been missing for too long."""
        for group in self.reassembly.expired(now):
            self._drop_group(group)
            self.records.lose_claimed(group.first.n_rec)
        if now >= self.created + LOSS_DELAY:
            lead = self.ledger.drop_lead()
            if lead is not None:
                self.window.finish(lead.start, lead.end - lead.start)
        self.records.declare_lost(now)
        self._settle_gaps()

    def next_timeout(self) -> float:
        """Return when `handle_timeout` has something to declare; infinite: never."""
        times = [self.ledger.declare_time(), self.reassembly.expiry_time()]
        if self.ledger.has_lead:
            times.append(self.created + LOSS_DELAY)
        return min((time for time in times if time is not None), default=inf)

    # the end

    @property
    def is_settled(self) -> bool:
        """Whether everything known to have been sent has found its end."""
        if self.records.pending or self.reassembly.groups:
            return False
        return not self.ledger.missing and not self.ledger.has_lead

    @property
    def is_complete(self) -> bool:
        """Whether a tombstone can take its place: no lost record may still come."""
        return self.is_settled and not self.records.batches and not self.ledger.gaps

    def release(self) -> None:
        """Declare everything lost that is missing, and give room back."""
        Stream.release(self)
        self.records.declare_lost(inf)

    def _on_unfinished(self, group: Group) -> None:
        self.records.lose_claimed(group.first.n_rec)

    def _final_below(self) -> int:
        return self.ledger.next_seq

    def _unseen_before_start(self) -> int:
        return 0 if self.before is not None else max(0, self.ledger.first_rec)
