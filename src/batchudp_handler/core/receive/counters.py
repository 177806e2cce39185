"""The counters that a receiving machine keeps while it runs: its own, and those of a stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["ReceiverCounters", "StreamCounters"]


@dataclass(slots=True)
class ReceiverCounters:
    """Everything that is counted and belongs to no stream."""

    datagrams_received: int = 0
    bytes_received: int = 0
    delivered: int = 0
    """Records of baseline datagrams."""
    rejected: Counter[str] = field(default_factory=Counter)
    """The same."""
    refused: Counter[str] = field(default_factory=Counter)
    refused_records: Counter[str] = field(default_factory=Counter)
    replies: int = 0
    reply_bytes: int = 0
    challenges: int = 0
    auth_failed: Counter[int] = field(default_factory=Counter)
    key_last_used: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class StreamCounters:
    """What has become of the records and datagrams of one stream."""

    delivered: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    abandoned: int = 0
    late: int = 0
    duplicates: int = 0
    possibly_duplicate: int = 0
    duplicate_datagrams: int = 0
    datagrams_received: int = 0
    bytes_received: int = 0
    address_changes: int = 0

    def add_duplicate(self, header: Header) -> None:
        """Count a datagram that was received before; its records with its first fragment."""
        self.duplicate_datagrams += 1
        if header.frag_index == 0:
            self.duplicates += header.n_rec

    def reject(self, reason: str, records: int) -> None:
        """Count records that could not be delivered."""
        self.rejected[reason] = self.rejected.get(reason, 0) + records
