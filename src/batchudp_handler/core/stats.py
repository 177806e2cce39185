"""What do both ends report about themselves?

Frozen snapshots of counters. Records are the unit unless a name says otherwise (`datagrams_`,
`bytes_`, `..._datagrams`). The identities that hold at any moment:

* S, sender: `accepted = sent + confirmed + rejected_by_receiver + unconfirmed + waiting +
  retained + spooled + sum(dropped)`
* R, each stream of a receiver: `next_rec - first_rec = delivered + sum(rejected) + lost +
  missing + abandoned + pending`
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Address", "Distribution", "ReceiverStats", "Samples", "SenderStats", "StreamStats"]

Address: TypeAlias = "tuple[str | int, ...] | str"
"""Where a datagram came from: what `recvfrom` says, or a name for it."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Count and mean of everything seen, median and 95th percentile of the recent part."""

    count: int = 0
    """How many were seen, ever."""
    mean: float = 0.0
    """Of all that were seen."""
    p50: float = 0.0
    """The median of the latest."""
    p95: float = 0.0
    """The 95th percentile of the latest."""


class Samples:
    """Collects numbers in bounded memory.

    Count and sum are kept for ever, the values themselves only for the latest `size` samples: a
    ring instead of a random reservoir, because the core draws no random numbers and because the
    recent past is what an operator asks about.
    """

    __slots__ = ("_count", "_recent", "_sum")

    def __init__(self, size: int = 512) -> None:
        self._recent: deque[float] = deque(maxlen=size)
        self._count = 0
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Take one sample."""
        self._recent.append(value)
        self._count += 1
        self._sum += value

    def distribution(self) -> Distribution:
        """Summarise; safe to call while another thread adds."""
        values = sorted(self._recent.copy())
        if not values:
            return Distribution()
        mean = self._sum / self._count
        return Distribution(self._count, mean, _quantile(values, 0.50), _quantile(values, 0.95))


def _quantile(values: list[float], share: float) -> float:
    """Interpolate linearly between the two nearest of the sorted values."""
    position = (len(values) - 1) * share
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (position - below)


@dataclass(frozen=True, slots=True)
class SenderStats:
    """The state of one handler's sending side."""

    # identity S, in records
    accepted: int = 0
    """Records that the handler took: everything else here is what became of them."""
    adopted: int = 0
    """Of those: found in the spool of a process that is gone."""
    sent: int = 0
    """One-way: given to the socket without an error."""
    confirmed: int = 0
    """Acknowledged: the receiver's handlers have returned."""
    rejected_by_receiver: int = 0
    """Acknowledged: arrived, and could not be decoded there."""
    unconfirmed: int = 0
    """Given up at close with the fate unknown."""
    waiting: int = 0
    """In the buffer, not yet encoded."""
    retained: int = 0
    """Sealed, kept until confirmed (or, one-way, until sent)."""
    spooled: int = 0
    """On disk, while no receiver answers."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By cause."""

    # volume
    datagrams_sent: int = 0
    """Of every kind, repetitions included."""
    bytes_sent: int = 0
    """In those datagrams, headers included."""
    bytes_raw: int = 0
    """Payloads before compression."""
    batches: int = 0
    """Encoded, each into one or more datagrams."""
    flushes: Mapping[str, int] = field(default_factory=dict)
    """By trigger: size, time, level, first, flush, close."""
    trigger_ratio: Mapping[str, float] = field(default_factory=dict)
    """Each trigger's share of all flushes."""
    batch_size: Distribution = field(default_factory=Distribution)
    """Records taken by a flush."""
    send_time: Distribution = field(default_factory=Distribution)
    """Seconds from draining a batch to its last datagram's being sent."""

    # trouble
    send_errors: Mapping[str, int] = field(default_factory=dict)
    """By errno name."""
    retries: int = 0
    """Sends that were tried again after an error."""
    truncated: int = 0
    """Records above the size limit that were shortened, with a mark."""
    fragmented: int = 0
    """Records that took several datagrams."""
    resolves: int = 0
    """Look-ups of the receiver's name."""
    reconnects: int = 0
    """New sockets."""

    # acknowledged delivery
    rtt: float | None = None
    """Smoothed round trip in seconds; None until measured."""
    retransmissions: int = 0
    """Datagrams sent again because no ack came."""
    in_flight: int = 0
    """Bytes."""
    congestion_window: int = 0
    """Bytes."""
    resent_to_new_receiver: int = 0
    """The most copies that restarts of the receiver can have caused."""
    resealed: int = 0
    """Records sealed again for a smaller path."""

    uptime: float = 0.0
    """Seconds since the flusher started."""
    stream_id: int = 0
    """The number by which the receiver knows this stream."""
    max_datagram_size: int = 0
    """Bytes; what is used now."""


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
    """The stream fell silent without a goodbye: what it sent last is not known."""
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

    datagrams_received: int = 0
    """Everything that the socket gave."""
    bytes_received: int = 0
    """In those datagrams."""
    handler_errors: int = 0
    """Records on which a local handler raised; they count as delivered."""
    filtered: int = 0
    """Delivered records that no local logger wanted."""
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
    """The kernel buffer that was granted, in bytes."""
