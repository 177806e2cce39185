"""The send window: the sealed datagrams that are not settled, and what is known of each.

    QUEUED      to be sent, for the first time or again
    IN_FLIGHT   sent, nothing heard yet
    HELD        the receiver has it but its handlers have not returned: not sent again, kept
    FINAL       below the floor: not in the window any more
    ABANDONED   given up or replaced: kept only as a number until the floor has passed it

Two levels of knowledge arrive with each ack, as with TCP's SACK (RFC 2018): the bitmap takes a
datagram out of flight, only the floor lets its bytes go, because "received" is long before
"handled" and a receiver may die between the two.

Everything is found without a scan. Sequence numbers are dense, so a dict keyed by them is the
window; transmissions are numbered by a counter of their own (`order`), and the dict of those in
flight keeps that order, so its first entries are the oldest. What waits is a heap of sequence
numbers: the oldest datagram is always sent first, because it holds the receiver's floor back.

Loss is declared by time only: a datagram that was sent later has been acked, and this one is
overdue. Counting overtaking datagrams (RFC 9002's packet threshold) sent three of four datagrams
twice on a path with no loss and 0.1 ms of jitter.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["AckOutcome", "DatagramState", "RetainedDatagram", "SendWindow"]


class DatagramState(Enum):
    """What the sender knows of a datagram that it has sealed."""

    QUEUED = "queued"
    IN_FLIGHT = "in_flight"
    HELD = "held"
    FINAL = "final"
    ABANDONED = "abandoned"


class RetainedDatagram:
    """One sealed datagram. Its bytes never change; what is known about it does."""

    __slots__ = (
        "data",
        "end_rec",
        "first_sent",
        "is_stored",
        "last_sent",
        "n_rec",
        "order",
        "records",
        "sealed",
        "sent_count",
        "seq",
        "size",
        "state",
        "was_lost",
    )

    def __init__(
        self,
        seq: int,
        *,
        records: int,
        n_rec: int,
        end_rec: int,
        data: bytes | None,
        size: int,
        sealed: float,
    ) -> None:
        self.seq = seq
        self.n_rec = n_rec
        """Records of its batch, repeated in each fragment of a group."""
        self.end_rec = end_rec
        """The ordinal after the last record of its batch."""
        self.records = records
        """Records that are settled with this datagram: of a group, only the last one counts."""
        self.data = data
        """None while only the spool has the bytes."""
        self.size = size
        self.sealed = sealed
        self.is_stored = False
        self.state = DatagramState.QUEUED
        self.sent_count = 0
        self.first_sent = 0.0
        self.last_sent = 0.0
        self.order = -1
        self.was_lost = False
        """Declared lost at some time, rightly or not."""


@dataclass(slots=True)
class AckOutcome:
    """What one ack changed."""

    acked_bytes: int = 0
    """Taken out of flight."""
    final_records: int = 0
    """Records of datagrams that the floor passed, abandoned ones left out."""
    newest: RetainedDatagram | None = None
    """Of the datagrams first acked now, the one that was sent last."""
    acked: list[RetainedDatagram] = field(default_factory=list)
    """The datagrams first acked now."""
    forgotten: list[RetainedDatagram] = field(default_factory=list)
    """Datagrams that the receiver once held and does not hold any more."""
    progress: bool = False


class SendWindow:
    """The datagrams from the floor up to the next sequence number.

    `bytes_in_flight`, `retained_bytes` (those in memory) and the three counts of records follow
    each change; reading them costs nothing.
    """

    def __init__(self, first_seq: int = 0) -> None:
        self.floor = first_seq
        """Everything below is settled."""
        self.next_seq = first_seq
        self.sent_end = first_seq
        """Everything below was sent at least once, or will never be."""
        self.sent_end_rec = 0
        """The record ordinal that belongs to it."""
        self.bytes_in_flight = 0
        self.retained_bytes = 0
        self.retained_records = 0
        self.stored_records = 0
        self.next_order = 0
        self._newest_acked_order = -1
        self._held = 0
        self._datagrams: dict[int, RetainedDatagram] = {}
        self._in_flight: dict[int, RetainedDatagram] = {}
        self._queue: list[int] = []

    def __len__(self) -> int:
        return len(self._datagrams)

    def __iter__(self) -> Iterator[RetainedDatagram]:
        return iter(self._datagrams.values())

    def get(self, seq: int) -> RetainedDatagram | None:
        """Return the datagram with this number while it is in the window."""
        return self._datagrams.get(seq)

    @property
    def in_flight(self) -> int:
        """The number of datagrams on the way."""
        return len(self._in_flight)

    def in_flight_datagrams(self) -> list[RetainedDatagram]:
        """Return what is on the way, oldest transmission first."""
        return list(self._in_flight.values())

    # changes made by the sender

    def append(self, datagram: RetainedDatagram) -> None:
        """Add the next datagram; it waits to be sent."""
        if datagram.seq != self.next_seq:
            raise ValueError(f"datagram {datagram.seq} does not follow {self.next_seq - 1}")
        self.next_seq += 1
        self._datagrams[datagram.seq] = datagram
        self._account(datagram, 1)
        if datagram.state is DatagramState.QUEUED:
            heapq.heappush(self._queue, datagram.seq)

    def peek(self) -> RetainedDatagram | None:
        """Return the oldest datagram that waits to be sent."""
        queue = self._queue
        while queue:
            datagram = self._datagrams.get(queue[0])
            if datagram is not None and datagram.state is DatagramState.QUEUED:
                return datagram
            heapq.heappop(queue)
        return None

    def on_sent(self, datagram: RetainedDatagram, now: float) -> None:
        """Note a transmission, the first one or another one."""
        if datagram.state is DatagramState.IN_FLIGHT:
            del self._in_flight[datagram.order]
        elif datagram.state is DatagramState.QUEUED:
            self.bytes_in_flight += datagram.size
        else:  # settled or acked between the choice and the transmission
            datagram.sent_count += 1
            return
        self._reach(datagram)
        if not datagram.sent_count:
            datagram.first_sent = now
        datagram.state = DatagramState.IN_FLIGHT
        datagram.sent_count += 1
        datagram.last_sent = now
        datagram.order = self.next_order
        self._in_flight[datagram.order] = datagram
        self.next_order += 1

    def requeue(self, datagram: RetainedDatagram) -> None:
        """Send a datagram again that is in flight, or was held by a receiver that is gone."""
        if datagram.state is DatagramState.IN_FLIGHT:
            self._leave_flight(datagram)
        elif datagram.state is DatagramState.HELD:
            self._held &= ~(1 << (datagram.seq - self.floor))
        else:
            return
        datagram.state = DatagramState.QUEUED
        heapq.heappush(self._queue, datagram.seq)

    def requeue_all(self) -> None:
        """Forget all that was heard: the receiver is another one."""
        for datagram in self._datagrams.values():
            self.requeue(datagram)
        self._newest_acked_order = -1

    def abandon(self, datagram: RetainedDatagram) -> None:
        """Give a datagram up; its number stays until the floor passes it."""
        if datagram.state is DatagramState.ABANDONED:
            return
        if datagram.state is DatagramState.IN_FLIGHT:
            self._leave_flight(datagram)
        self._account(datagram, -1)
        datagram.state = DatagramState.ABANDONED
        datagram.data = None
        self._skip_abandoned()

    def store(self, datagram: RetainedDatagram) -> None:
        """Note that the spool has the bytes too."""
        if datagram.state is DatagramState.ABANDONED or datagram.is_stored:
            return
        self._account(datagram, -1)
        datagram.is_stored = True
        self._account(datagram, 1)

    def unstore(self, datagram: RetainedDatagram) -> None:
        """Note that the spool does not have the bytes any more, and memory has."""
        if datagram.state is not DatagramState.ABANDONED and datagram.is_stored:
            self._account(datagram, -1)
            datagram.is_stored = False
            self._account(datagram, 1)

    def unload(self, datagram: RetainedDatagram) -> None:
        """Let the bytes of a stored datagram go."""
        if datagram.is_stored and datagram.data is not None:
            self.retained_bytes -= datagram.size
            datagram.data = None

    def load(self, datagram: RetainedDatagram, data: bytes) -> None:
        """Take the bytes of a stored datagram back into memory."""
        if datagram.data is None and datagram.state is not DatagramState.ABANDONED:
            self.retained_bytes += datagram.size
            datagram.data = data

    # changes made by the receiver's answers

    def on_ack(self, floor: int, held: int) -> AckOutcome:
        """Apply an ack that is newer than all before it.

        Args:
            floor: every datagram below is final.
            held: bit i says that datagram `floor + i` was received.
        """
        outcome = AckOutcome()
        if floor < self.floor:
            held >>= self.floor - floor
        self._raise_floor(floor, outcome)
        for datagram in self._at(held & ~self._held):
            self._on_first_ack(datagram, outcome)
            if datagram.state is not DatagramState.ABANDONED:
                datagram.state = DatagramState.HELD
        for datagram in self._at(self._held & ~held):
            if datagram.state is DatagramState.HELD:
                outcome.forgotten.append(datagram)
        self._held = held
        for datagram in outcome.forgotten:
            datagram.state = DatagramState.QUEUED
            heapq.heappush(self._queue, datagram.seq)
        self._skip_abandoned()
        return outcome

    def detect_lost(self, now: float, loss_delay: float) -> list[RetainedDatagram]:
        """Queue what is overdue and was overtaken; return it, oldest transmission first."""
        lost = []
        for datagram in self._in_flight.values():
            overtaken = datagram.order < self._newest_acked_order
            if not overtaken or datagram.last_sent + loss_delay > now:
                break
            lost.append(datagram)
        for datagram in lost:
            self.requeue(datagram)
        return lost

    def loss_time(self, loss_delay: float) -> float | None:
        """Return when the next overtaken datagram becomes overdue."""
        for datagram in self._in_flight.values():
            if datagram.order < self._newest_acked_order:
                return datagram.last_sent + loss_delay
            break
        return None

    def oldest_unheld(self, limit: int) -> list[RetainedDatagram]:
        """Return the first datagrams, by number, that were sent and not acked."""
        if not self._in_flight:
            return []
        return heapq.nsmallest(limit, self._in_flight.values(), key=lambda each: each.seq)

    # inside

    def _raise_floor(self, floor: int, outcome: AckOutcome) -> None:
        for seq in range(self.floor, floor):
            datagram = self._datagrams.pop(seq)
            outcome.progress = True
            if datagram.state is DatagramState.ABANDONED:
                continue
            outcome.final_records += datagram.records
            self._account(datagram, -1)
            if datagram.state is not DatagramState.HELD:
                self._on_first_ack(datagram, outcome)
            datagram.state = DatagramState.FINAL
        if floor > self.floor:
            self._held >>= floor - self.floor
            self.floor = floor

    def _at(self, bits: int) -> Iterable[RetainedDatagram]:
        while bits:
            lowest = bits & -bits
            bits ^= lowest
            yield self._datagrams[self.floor + lowest.bit_length() - 1]

    def _on_first_ack(self, datagram: RetainedDatagram, outcome: AckOutcome) -> None:
        if datagram.state is DatagramState.ABANDONED:
            return
        if datagram.state is DatagramState.IN_FLIGHT:
            self._leave_flight(datagram)
            outcome.acked_bytes += datagram.size
        outcome.progress = True
        outcome.acked.append(datagram)
        self._newest_acked_order = max(self._newest_acked_order, datagram.order)
        if outcome.newest is None or datagram.order > outcome.newest.order:
            outcome.newest = datagram

    def _reach(self, datagram: RetainedDatagram) -> None:
        if datagram.seq >= self.sent_end:
            self.sent_end = datagram.seq + 1
            self.sent_end_rec = datagram.end_rec

    def _leave_flight(self, datagram: RetainedDatagram) -> None:
        del self._in_flight[datagram.order]
        self.bytes_in_flight -= datagram.size

    def _skip_abandoned(self) -> None:
        while True:
            datagram = self._datagrams.get(self.floor)
            if datagram is None or datagram.state is not DatagramState.ABANDONED:
                return
            del self._datagrams[self.floor]
            self._reach(datagram)
            self.floor += 1
            self._held >>= 1

    def _account(self, datagram: RetainedDatagram, sign: int) -> None:
        if datagram.data is not None:
            self.retained_bytes += sign * datagram.size
        if datagram.is_stored:
            self.stored_records += sign * datagram.records
        else:
            self.retained_records += sign * datagram.records
