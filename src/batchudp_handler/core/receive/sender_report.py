"""The report of a sender about itself, as its SYNCs give it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.constants import MODULUS

if TYPE_CHECKING:
    from batchudp_handler.core.wire.sync import Sync

__all__ = ["SenderReport"]

SILENT_INTERVALS = 3
"""A sender that is silent for so many of the intervals that it promised has vanished."""


@dataclass(slots=True)
class SenderReport:
    """The latest of what a sender has said."""

    dropped: int = 0
    """Records that it dropped before numbering them, modulo 2^32."""
    counter: int = -1
    """Of its latest SYNC; older ones are copies."""
    promise: float = 0.0
    """Seconds between two datagrams, at most; 0: it has promised nothing."""
    max_datagram: int = 0
    closing: bool = False
    resumed: bool = False

    def check_new(self, counter: int) -> None:
        """Raise `DecodeError` when a SYNC is not newer than the latest one."""
        if counter <= self.counter:
            raise DecodeError(Reason.REPLAYED, "SYNC")

    def update(self, counter: int, sync: Sync) -> int:
        """Take a new SYNC; return how many more records the sender has dropped."""
        self.counter = counter
        self.promise = sync.promise_ms / 1000
        self.max_datagram = sync.max_datagram
        self.resumed = self.resumed or sync.resumed
        self.closing = self.closing or sync.closing
        dropped = (sync.dropped_records - self.dropped) % MODULUS
        if dropped >= MODULUS // 2:
            return 0
        self.dropped += dropped
        return dropped

    def dropped_since(self, before: int) -> int:
        """Return how many records were dropped after the count was `before`."""
        return (self.dropped - before) % MODULUS

    def vanish_time(self, last_seen: float) -> float:
        """Return when silence since `last_seen` will have lasted too long for the promise."""
        return last_seen + SILENT_INTERVALS * self.promise if self.promise else inf
