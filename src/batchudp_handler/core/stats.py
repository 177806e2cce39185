"""What do both ends report about themselves?

Frozen snapshots of counters. Records are the unit unless a name says otherwise (`datagrams_`,
`bytes_`, `..._datagrams`). The identities that hold at any moment:

* S, sender: `accepted = sent + confirmed + rejected_by_receiver + unconfirmed + waiting +
  retained + spooled + sum(dropped)`
* R, each stream of a receiver: `next_rec - first_rec = delivered + sum(rejected) + lost +
  missing + abandoned + pending`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from batchudp_handler.core.sender_stats import Distribution, Samples, SenderStats

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Address", "Distribution", "ReceiverStats", "Samples", "SenderStats", "StreamStats"]

Address: TypeAlias = "tuple[str | int, ...] | str"
"""Where a datagram came from: what `recvfrom` says, or a name for it."""


@dataclass(frozen=True, slots=True)
class StreamStats:
    """What a receiver knows of one stream."""

    stream_id: int
    """A random number, new for each handler in each process."""
    address: Address
    """Where its latest datagram came from."""
    key_id: int
    """The key that proves its sender; 0: none."""
    acknowledged: bool
    """Whether the sender waits for acks."""

    # identity R, in records
    first_rec: int
    """Ordinal of the first record that the receiver answers for, not reduced modulo 2^32."""
    next_rec: int
    """One past the last record known to exist, on the same scale."""
    delivered: int = 0
    """Handed to the local loggers."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Arrived and could not be delivered, by reason."""
    lost: int = 0
    """Declared lost: something newer came, and time is up."""
    missing: int = 0
    """Not here, but may still come."""
    abandoned: int = 0
    """Acknowledged: the sender said that they will not come under these numbers."""
    pending: int = 0
    """Received, with the handlers or waiting for the rest of their fragments."""

    late: int = 0
    """Records that were counted lost for a while and then came."""
    duplicates: int = 0
    """Records in datagrams received again and ignored."""
    duplicate_datagrams: int = 0
    """The same in datagrams."""
    sender_dropped: int = 0
    """As told by the sender: dropped before they were numbered."""
    unseen_before_start: int = 0
    """Numbered before the first datagram that reached this receiver; not counted as lost."""
    possibly_duplicate: int = 0
    """Records that may have been delivered by an earlier life of the receiver as well."""
    address_changes: int = 0
    """How often its datagrams began to come from somewhere else."""
    datagrams_received: int = 0
    """Accepted as belonging to this stream."""
    bytes_received: int = 0
    """In those datagrams, headers included."""
    age: float = 0.0
    """Seconds since its first datagram."""
    idle: float = 0.0
    """Seconds since its latest datagram."""
    tail_unknown: bool = False
    """The stream ended without a goodbye: what it sent last is not known."""
    resumed: bool = False
    """The sender took it up again from its spool."""
    ended: str | None = None
    """Why the stream ended: closed, vanished, idle, evicted, shutdown; None while it lives."""


@dataclass(frozen=True, slots=True)
class ReceiverStats:
    """The state of one receiver: sums over all its streams, ended ones included."""

    delivered: int = 0
    """Records handed to the local loggers."""
    lost: int = 0
    """Of all streams: declared lost."""
    missing: int = 0
    """Of all streams: not here, but may still come."""
    abandoned: int = 0
    """Of all streams: the sender said that they will not come under these numbers."""
    pending: int = 0
    """Received, with the handlers or waiting for the rest of their fragments."""
    late: int = 0
    """Counted lost for a while, and then they came."""
    duplicates: int = 0
    """Records in datagrams received again and ignored."""
    duplicate_datagrams: int = 0
    """The same in datagrams."""
    sender_dropped: int = 0
    """As told by the senders: dropped before they were numbered."""
    unseen_before_start: int = 0
    """Numbered before the first datagram that reached this receiver."""
    possibly_duplicate: int = 0
    """Records that an earlier life of the receiver may have delivered as well."""
    kernel_drops: int | None = None
    """Datagrams dropped by the kernel's queue; None where that cannot be read. Never added to
    `lost`, which counts the same loss in records once a stream shows it."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Records that arrived and could not be delivered, by reason. Part of identity R."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Datagrams that were turned away whole, by reason: garbage, strangers, full tables."""
    refused_records: Mapping[str, int] = field(default_factory=dict)
    """Records in those of them that a one-way sender will not send again, as far as their headers
    say how many, by reason. No stream has them in its own counts."""

    datagrams_received: int = 0
    """Everything that the socket gave."""
    bytes_received: int = 0
    """In those datagrams."""
    handler_errors: int = 0
    """Records on which a local handler raised; they count as delivered."""
    callback_errors: Mapping[str, int] = field(default_factory=dict)
    """By place: how often code of the program raised where the receiver called it. `handler` are
    records, the others calls."""
    internal_errors: Mapping[str, int] = field(default_factory=dict)
    """By loop: mistakes of the receiver itself, after which the loop went on."""
    filtered: int = 0
    """Delivered records that no local logger or handler wanted at their level."""
    unhandled: int = 0
    """Delivered records that found no handler. `logging.lastResort` prints those at WARNING and
    above on standard error, as it does for the program's own."""
    clients_refused: Mapping[str, int] = field(default_factory=dict)
    """By cause: clients of the control socket and the metrics page that were let go without an
    answer, because they were too many, too slow or did not read."""
    unformatted: Mapping[str, int] = field(default_factory=dict)
    """Delivered records that did not fit the script's pattern, by error; they are written
    without it."""
    output_errors: Mapping[str, int] = field(default_factory=dict)
    """Writes that the script's output refused, by the name of the errno; each is tried again
    until it succeeds, and nothing is confirmed before. A full pipe counts when nobody has read
    from it for five seconds."""
    output_blocked: float = 0.0
    """Seconds for which the script's output has refused what waits; 0: it does not."""
    trimmed: Mapping[str, int] = field(default_factory=dict)
    """What delivered records lost to a limit: texts that were cut, fields that were left out,
    templates that were not trusted and are shown as they came."""
    replies: int = 0
    """Datagrams sent back, challenges included."""
    reply_bytes: int = 0
    """In those replies."""
    challenges: int = 0
    """Replies that ask an address to prove itself."""
    auth_failed: Mapping[int, int] = field(default_factory=dict)
    """By key id: datagrams with a wrong tag."""
    key_last_used: Mapping[int, float] = field(default_factory=dict)
    """By key id: wall clock time of the latest datagram with a right tag."""

    streams: Mapping[str, StreamStats] = field(default_factory=dict)
    """By stream id in hexadecimal: the live ones, then the latest of the ended ones."""
    streams_live: int = 0
    """Streams in the table now."""
    streams_seen: int = 0
    """Streams that were ever in the table."""
    streams_ended: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    queued_bytes: int = 0
    """Of batches that wait for the handlers."""
    reassembly_bytes: int = 0
    """Reserved for payloads that came in part."""
    uptime: float = 0.0
    """Seconds since the receiver was made."""
    receive_buffer: int = 0
    """The kernel's buffer in bytes, as the kernel counts it: on Linux twice what was granted,
    because its bookkeeping is charged, too."""
