"""The counters of the receiving side, as `BatchUDPReceiver.stats` returns them.

Frozen snapshots. Records are the unit unless a name says otherwise (`datagrams_`, `bytes_`,
`..._datagrams`). The identity that holds at any moment, for each stream: `next_rec - first_rec =
delivered + sum(rejected) + lost + missing + abandoned + pending`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Address", "EndReason", "ReceiverStats", "StreamStats"]

Address: TypeAlias = "tuple[str | int, ...] | str"
"""Where a datagram came from: what `recvfrom` says, or a name for it."""


class EndReason(StrEnum):
    """Why a stream ended. The values are the counters' names."""

    CLOSED = "closed"
    """The sender said goodbye, and everything before it has found its end."""
    VANISHED = "vanished"
    """The sender was silent for longer than it promised; it may come back."""
    IDLE = "idle"
    """The stream was silent for so long that it was forgotten."""
    EVICTED = "evicted"
    """The stream was forgotten to make room for another one."""
    SHUTDOWN = "shutdown"
    """The receiver was closed."""


@dataclass(frozen=True, slots=True)
class StreamStats:
    """What a receiver knows of one stream."""

    stream_id: int
    """A random number, new for each handler in each process."""
    address: Address
    """Source address of its latest datagram."""
    key_id: int
    """Number of the key that authenticates its sender; 0: none."""
    acknowledged: bool
    """Whether the sender waits for acks."""

    # identity R, in records
    first_rec: int
    """Number of the first record that the receiver counts, not reduced modulo 2^32."""
    next_rec: int
    """Number after the last record that is known to exist, on the same scale."""
    delivered: int = 0
    """Records handed to the local loggers."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Records that arrived and could not be delivered, by reason."""
    lost: int = 0
    """Records declared lost: newer ones arrived, and the waiting time is over."""
    missing: int = 0
    """Records that have not arrived but may still come."""
    abandoned: int = 0
    """Acknowledged delivery: records that the sender will not send under these numbers."""
    pending: int = 0
    """Records that were received and are with the handlers or wait for other fragments."""

    late: int = 0
    """Records that were counted as lost and then arrived."""
    duplicates: int = 0
    """Records in datagrams received again and ignored."""
    duplicate_datagrams: int = 0
    """Datagrams received again and ignored."""
    sender_dropped: int = 0
    """Records dropped by the sender before they were numbered, as it reported."""
    unseen_before_start: int = 0
    """Records numbered before the first datagram that reached this receiver. They are not lost."""
    possibly_duplicate: int = 0
    """Records that an earlier life of the receiver may also have delivered."""
    address_changes: int = 0
    """How often its source address changed."""
    datagrams_received: int = 0
    """Datagrams accepted as part of this stream."""
    bytes_received: int = 0
    """Bytes in those datagrams, headers included."""
    age: float = 0.0
    """Seconds since its first datagram."""
    idle: float = 0.0
    """Seconds since its latest datagram."""
    tail_unknown: bool = False
    """The stream ended without a goodbye, so its last records are not known."""
    resumed: bool = False
    """The sender resumed the stream from its spool."""
    ended: str | None = None
    """Why the stream ended: closed, vanished, idle, evicted, shutdown; None while it lives."""


@dataclass(frozen=True, slots=True)
class ReceiverStats:
    """The state of one receiver: sums over all its streams, ended ones included."""

    delivered: int = 0
    """Records handed to the local loggers."""
    lost: int = 0
    """Records declared lost, in all streams."""
    missing: int = 0
    """Records that have not arrived but may still come, in all streams."""
    abandoned: int = 0
    """Records that senders will not send under these numbers, in all streams."""
    pending: int = 0
    """Records that were received and are with the handlers or wait for other fragments."""
    late: int = 0
    """Records that were counted as lost and then arrived."""
    duplicates: int = 0
    """Records in datagrams received again and ignored."""
    duplicate_datagrams: int = 0
    """Datagrams received again and ignored."""
    sender_dropped: int = 0
    """Records dropped by senders before they were numbered, as they reported."""
    unseen_before_start: int = 0
    """Records numbered before the first datagram of their stream that reached this receiver."""
    possibly_duplicate: int = 0
    """Records that an earlier life of the receiver may also have delivered."""
    kernel_drops: int | None = None
    """Datagrams dropped by the kernel's queue; None where that cannot be read. Never added to
    `lost`, which counts the same loss in records once a stream shows it."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Records that arrived and could not be delivered, by reason. Part of identity R."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Datagrams that were refused as a whole, by reason."""
    refused_records: Mapping[str, int] = field(default_factory=dict)
    """Records in refused datagrams that a one-way sender will not send again, by reason, as far as
    the headers say how many. No stream counts them."""

    datagrams_received: int = 0
    """All datagrams read from the socket."""
    bytes_received: int = 0
    """Bytes in those datagrams."""
    handler_errors: int = 0
    """Records on which a local handler raised; they count as delivered."""
    callback_errors: Mapping[str, int] = field(default_factory=dict)
    """Exceptions in code of the program that the receiver called, by place. `handler` counts
    records, the others count calls."""
    internal_errors: Mapping[str, int] = field(default_factory=dict)
    """Internal errors of the receiver, by loop; the loop continued after each."""
    filtered: int = 0
    """Delivered records whose level was too low for the local loggers or handlers."""
    unhandled: int = 0
    """Delivered records that found no handler. `logging.lastResort` prints those at WARNING and
    above on standard error, as it does for the program's own records."""
    clients_refused: Mapping[str, int] = field(default_factory=dict)
    """Clients of the control socket and the metrics page that were disconnected without an answer,
    because they were too many, too slow or did not read, by cause."""
    unformatted: Mapping[str, int] = field(default_factory=dict)
    """Delivered records that did not fit the script's pattern, by error; they are written
    without it."""
    output_errors: Mapping[str, int] = field(default_factory=dict)
    """Writes that the script's output refused, by the name of the errno; each is tried again
    until it succeeds, and nothing is confirmed before. A full pipe counts when nobody has read
    from it for five seconds."""
    output_blocked: float = 0.0
    """Seconds for which the script's output has refused to be written; 0: it does not refuse."""
    trimmed: Mapping[str, int] = field(default_factory=dict)
    """Parts of delivered records that exceeded a limit, by kind: texts that were cut, fields that
    were left out, templates that were not trusted and became plain text."""
    replies: int = 0
    """Datagrams sent back, challenges included."""
    reply_bytes: int = 0
    """Bytes in those replies."""
    challenges: int = 0
    """Replies that ask a sender to prove its address."""
    auth_failed: Mapping[int, int] = field(default_factory=dict)
    """Datagrams with a wrong tag, by key id."""
    key_last_used: Mapping[int, float] = field(default_factory=dict)
    """Wall clock time of the latest datagram with a correct tag, by key id."""

    streams: Mapping[str, StreamStats] = field(default_factory=dict)
    """Live streams, then the latest ended ones, by stream id in hexadecimal."""
    streams_live: int = 0
    """Streams in the table now."""
    streams_seen: int = 0
    """Streams that were ever in the table."""
    streams_ended: Mapping[str, int] = field(default_factory=dict)
    """Streams that have ended, by reason."""
    queued_bytes: int = 0
    """Bytes of batches that wait for the handlers."""
    reassembly_bytes: int = 0
    """Bytes reserved for payloads that have arrived in part."""
    uptime: float = 0.0
    """Seconds since the receiver was created."""
    receive_buffer: int = 0
    """Size of the kernel's buffer in bytes, as the kernel counts it. On Linux this is twice what
    was granted, because it includes the kernel's own overhead."""
