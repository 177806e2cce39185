"""Counters of the sending side, as `BatchUDPHandler.stats` returns them.

Frozen snapshots. Records are the unit unless a name says otherwise (`datagrams_`, `bytes_`). The
identity that holds at any moment: `accepted = sent + confirmed + rejected_by_receiver +
unconfirmed + waiting + retained + spooled + sum(dropped)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.samples import Distribution

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SenderStats"]


@dataclass(frozen=True, slots=True)
class SenderStats:
    """The state of one handler's sending side."""

    # identity S, in records
    accepted: int = 0
    """Records that the handler accepted; the following counters say what became of them."""
    adopted: int = 0
    """Those of the accepted records that were found in the spool of a dead process."""
    sent: int = 0
    """One-way delivery: records passed to the socket without an error."""
    confirmed: int = 0
    """Acknowledged delivery: records for which the receiver's handlers have returned."""
    rejected_by_receiver: int = 0
    """Acknowledged delivery: records that arrived and could not be decoded."""
    unconfirmed: int = 0
    """Records given up after they were sent, so it is not known whether they arrived: at close, or
    because there was no room while no receiver answered."""
    waiting: int = 0
    """Records accepted but not yet sent (acknowledged: not yet sealed)."""
    retained: int = 0
    """Acknowledged delivery: records sealed and kept in memory until confirmed. 0 if one-way."""
    spooled: int = 0
    """Records on disk while no receiver answers."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Dropped records, by cause; the causes are explained below the tables of counters."""

    # volume
    datagrams_sent: int = 0
    """Datagrams of every kind, repetitions included."""
    bytes_sent: int = 0
    """Bytes in those datagrams, headers included."""
    bytes_raw: int = 0
    """Bytes of payloads before compression."""
    batches: int = 0
    """Encoded batches; each became one or more datagrams."""
    flushes: Mapping[str, int] = field(default_factory=dict)
    """Flushes, by trigger: size, time, level, first, flush, close."""
    trigger_ratio: Mapping[str, float] = field(default_factory=dict)
    """Each trigger's share of all flushes."""
    batch_size: Distribution = field(default_factory=Distribution)
    """Records taken by a flush."""
    send_time: Distribution = field(default_factory=Distribution)
    """Seconds from draining a batch until its last datagram was sent."""

    # trouble
    send_errors: Mapping[str, int] = field(default_factory=dict)
    """Failed look-ups, connections and transmissions, and errors of the spool and of this package
    itself, by name."""
    last_error: str = ""
    """Why records do not reach their receiver, in words; empty if no reason is known."""
    retries: int = 0
    """Sends that were repeated after an error."""
    truncated: int = 0
    """Records with a text that was cut, with a mark: a message, argument, traceback or stack of
    more than 262,144 characters, an extra of more than 16,384 or of more than a thousand items,
    or whatever was too large for the datagrams. Each counts once."""
    fragmented: int = 0
    """Records that needed several datagrams."""
    resolves: int = 0
    """Look-ups of the receiver's name."""
    reconnects: int = 0
    """New sockets."""

    # acknowledged delivery
    rtt: float | None = None
    """Smoothed round-trip time in seconds; None until measured."""
    retransmissions: int = 0
    """Datagrams sent again because no ack came."""
    spurious: int = 0
    """Retransmitted datagrams whose first transmission had arrived."""
    syncs_sent: int = 0
    """Datagrams without records: probes, heartbeats and goodbyes."""
    acks_received: int = 0
    """Valid answers from the receiver."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Received datagrams that were ignored, by reason: damaged, old, or from strangers."""
    in_flight: int = 0
    """Bytes that were sent and are not yet acknowledged."""
    congestion_window: int = 0
    """Largest number of bytes that may be in flight."""
    resent_to_new_receiver: int = 0
    """Largest number of copies that restarts of the receiver can have caused."""
    resealed: int = 0
    """Records sealed again for a smaller path."""
    alternations: int = 0
    """How often a receiver answered after another one had. A few are normal at a restart. If the
    number keeps growing, two receivers share one address and nothing can be confirmed."""

    uptime: float = 0.0
    """Seconds since the handler was created."""
    stream_id: int = 0
    """Number that identifies this stream at the receiver."""
    max_datagram_size: int = 0
    """Largest datagram size in use, in bytes."""
