"""The events by which the receiving core tells the shell what has happened.

Plain facts, in the order in which they became known. The shell decodes bodies, runs handlers and
writes warnings; the core has done all counting before an event is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.receive.stats import Address, EndReason, StreamStats

if TYPE_CHECKING:
    from batchudp_handler.core.receive.refusals import Report

__all__ = [
    "Address",
    "AddressShared",
    "BatchReceived",
    "DatagramsRefused",
    "Event",
    "RecordsLost",
    "SenderDropped",
    "StreamEnded",
    "StreamStarted",
]


@dataclass(frozen=True, slots=True)
class BatchReceived:
    """A batch to decode and deliver; give it back through `on_batch_handled` exactly once."""

    stream_id: int | None
    """None: a baseline datagram, which belongs to no stream."""
    seq: int
    """Sequence number, of the first fragment if there were several; 0 for a baseline datagram."""
    n_rec: int
    """Records that the header promises; 0 for a baseline datagram, which does not say."""
    codec: int
    body: bytes
    address: Address
    key_id: int
    """Which key proved the sender; 0: none."""
    wall: float
    """Wall clock time of arrival."""

    @property
    def least_records(self) -> int:
        """How many records are rejected with a batch whose content stays unknown."""
        return self.n_rec or 1


@dataclass(frozen=True, slots=True)
class RecordsLost:
    """Records of a one-way stream have been declared lost."""

    stream_id: int
    address: Address
    records: int


@dataclass(frozen=True, slots=True)
class SenderDropped:
    """A sender has dropped this many more records before numbering them, as it says."""

    stream_id: int
    address: Address
    records: int


@dataclass(frozen=True, slots=True)
class DatagramsRefused:
    """Datagrams were turned away for one reason; at most one such event a minute for each."""

    report: Report


@dataclass(frozen=True, slots=True)
class AddressShared:
    """Another receiver seems to get a share of what is sent to this one."""

    address: Address
    """Of the sender that shows it."""


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The first accepted datagram of a stream that was not known."""

    stream_id: int
    address: Address
    key_id: int
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream came to its end.

    Its numbers stay in the receiver's totals, and the stream itself in the table for a while, so
    that copies of its datagrams are recognised.
    """

    stream_id: int
    address: Address
    stats: StreamStats
    reason: EndReason


Event = (
    AddressShared
    | BatchReceived
    | DatagramsRefused
    | RecordsLost
    | SenderDropped
    | StreamStarted
    | StreamEnded
)
