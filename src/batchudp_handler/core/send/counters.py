"""The counters of the sending machine: what became of the records that it was given.

Plain integers, changed in the one place where the thing happens and read by anyone. Each record
that was accepted ends in exactly one of `sent` (one-way), `confirmed`, `rejected_by_receiver`,
`unconfirmed`, and `dropped` by cause; until then it is pending, retained or in the spool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from batchudp_handler.core.samples import Samples

__all__ = ["SenderCounters", "Trigger"]


class Trigger(StrEnum):
    """Why a flush happened. The values are the counters' names."""

    FIRST = "first"
    SIZE = "size"
    TIME = "time"
    LEVEL = "level"
    FLUSH = "flush"
    CLOSE = "close"


@dataclass(slots=True)
class SenderCounters:
    """Counters of one handler, all of its streams together; in records if nothing else is said."""

    adopted: int = 0
    """Found in the spool of dead processes."""
    sent: int = 0
    """Handed to the network and not retained (one-way)."""
    confirmed: int = 0
    """The receiver's handlers have returned."""
    rejected_by_receiver: int = 0
    unconfirmed: int = 0
    """Left at the end: perhaps delivered, perhaps not."""
    dropped: dict[str, int] = field(default_factory=dict)
    """By cause: oversize, encode_error, send_failed, buffer_full, capacity_bytes, spool_full,
    spool_corrupt, spool_removed, closed."""

    flushes: dict[Trigger, int] = field(default_factory=lambda: dict.fromkeys(Trigger, 0))
    """By what caused them."""
    batch_size: Samples = field(default_factory=Samples)
    """Records that a flush took."""
    send_time: Samples = field(default_factory=Samples)
    """Seconds from taking the first records of a flush until the last ones were sent."""
    batches: int = 0
    """Groups of datagrams sealed; a group of more than one is a record in fragments."""
    datagrams_sent: int = 0
    """Transmissions, of whatever kind."""
    bytes_sent: int = 0
    bytes_raw: int = 0
    """Payloads before compression."""
    syncs_sent: int = 0
    retries: int = 0
    """Transmissions tried again after the socket refused them."""
    truncated: int = 0
    fragmented: int = 0
    resealed: int = 0
    """Records whose datagram was sealed again, smaller, after it had been sent."""
    retransmissions: int = 0
    """Datagrams, sent again for want of an ack."""
    spurious: int = 0
    """Datagrams sent again although the first one had arrived."""
    resent_to_new_receiver: int = 0
    """An upper bound on the copies that restarts of the receiver caused."""
    acks_received: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    """Datagrams that were received and not used, by reason."""

    @property
    def total_dropped(self) -> int:
        """Records dropped for whatever cause."""
        return sum(self.dropped.values())

    def drop(self, cause: str, records: int) -> None:
        """Count records that will never be sent."""
        if records:
            self.dropped[cause] = self.dropped.get(cause, 0) + records

    def ignore(self, reason: str) -> None:
        """Count a datagram that was received and not used."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1
