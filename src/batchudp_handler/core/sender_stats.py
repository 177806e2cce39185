"""What does the sending side report about itself?

Apart from what receivers report, whose classes a program that only sends would make for nothing.
`stats` has the identity that holds at any moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Distribution", "Samples", "SenderStats"]


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

    __slots__ = ("_recent", "_size", "_total")

    def __init__(self, size: int = 512) -> None:
        self._size = size
        # a list, as one can be copied while another thread changes it
        self._recent: list[float] = []
        self._total = (0, 0.0)

    def add(self, value: float) -> None:
        """Take one sample."""
        count, total = self._total
        if count < self._size:
            self._recent.append(value)
        else:
            self._recent[count % self._size] = value
        self._total = (count + 1, total + value)  # count and sum change together

    def distribution(self) -> Distribution:
        """Summarise; safe to call while another thread adds."""
        count, total = self._total
        if not count:
            return Distribution()
        values = sorted(self._recent.copy())
        return Distribution(count, total / count, _quantile(values, 0.50), _quantile(values, 0.95))


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
    """Given up after they were sent, with the fate unknown: at close, or for want of room while no
    receiver answers."""
    waiting: int = 0
    """Accepted, and not yet sent (acknowledged: not yet sealed)."""
    retained: int = 0
    """Acknowledged: sealed, and kept in memory until confirmed. Always 0 one-way."""
    spooled: int = 0
    """On disk, while no receiver answers."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By cause; the causes are explained below the tables of counters."""

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
    """Look-ups, connections and transmissions that failed, and errors of the spool and of this
    package itself; by name."""
    last_error: str = ""
    """What keeps records from their receiver, in words; empty: nothing that is known."""
    retries: int = 0
    """Sends that were tried again after an error."""
    truncated: int = 0
    """Records with a text that was cut, with a mark: a message, argument, traceback or stack of
    more than 262,144 characters, an extra of more than 16,384 or of more than a thousand items,
    or whatever was too large for the datagrams. Each counts once."""
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
    spurious: int = 0
    """Of these, datagrams whose first transmission had arrived."""
    syncs_sent: int = 0
    """Datagrams without records: questions, heartbeats and goodbyes."""
    acks_received: int = 0
    """Answers of the receiver that counted."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Datagrams that came back and did not count, by reason: damaged, old, or of strangers."""
    in_flight: int = 0
    """Bytes."""
    congestion_window: int = 0
    """Bytes."""
    resent_to_new_receiver: int = 0
    """The most copies that restarts of the receiver can have caused."""
    resealed: int = 0
    """Records sealed again for a smaller path."""
    alternations: int = 0
    """How often a receiver answered after another one had. A few at a restart; when they go on,
    two receivers stand behind one address, and nothing can be confirmed."""

    uptime: float = 0.0
    """Seconds since the handler was made."""
    stream_id: int = 0
    """The number by which the receiver knows this stream."""
    max_datagram_size: int = 0
    """Bytes; what is used now."""
