"""The decisions about the spool: which datagrams go there, and which come back.

Somebody else writes the files. A datagram is offered once, oldest first, when the
receiver is not there or memory is half full (or always, if so wanted). Its bytes leave memory only
when memory is half full, so that the oldest, which are sent first, are at hand. What is to be sent
and not at hand is asked for a few datagrams ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from batchudp_handler.core.send.window import DatagramState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batchudp_handler.core.send.window import RetainedDatagram, SendWindow

__all__ = ["Storage", "StoragePolicy", "StoredDatagram"]

BATCH = 64
"""Datagrams offered, or asked for, at a time."""
RETRY_DELAY = 5.0
"""Seconds of peace for a full or broken disk."""


class StoragePolicy(Enum):
    """When datagrams are offered to the spool."""

    OFF = "off"
    WHEN_NEEDED = "when_needed"
    """While the receiver is away, and when memory is half full."""
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class StoredDatagram:
    """A sealed datagram for the spool."""

    seq: int
    records: int
    """Records that are settled with it; of a group of fragments only the last one has some."""
    data: bytes


class Storage:
    """Chooses which datagrams of a window are stored and loaded."""

    def __init__(self, window: SendWindow, policy: StoragePolicy, max_retained: int) -> None:
        self.policy = policy
        self.max_retained = max_retained
        self._window = window
        self._next = 0
        self._retry_at = float("-inf")

    def for_window(self, window: SendWindow) -> Storage:
        """Return the same for another window."""
        return Storage(window, self.policy, self.max_retained)

    def is_needed(self, *, is_open: bool) -> bool:
        """Return whether datagrams should be stored now."""
        if self.policy is StoragePolicy.WHEN_NEEDED:
            return not is_open or 2 * self._window.retained_bytes > self.max_retained
        return self.policy is StoragePolicy.ALWAYS

    def take_all(self) -> None:
        """Offer everything from now on; a disk that failed a moment ago is tried once more."""
        if self.policy is not StoragePolicy.OFF:
            self.policy = StoragePolicy.ALWAYS
            self._retry_at = float("-inf")

    def start_over(self) -> None:
        """Offer again what memory has: the spool has lost everything."""
        self._next = 0

    def to_store(self, now: float, *, is_open: bool) -> list[StoredDatagram]:
        """Return the next datagrams to store."""
        if not self.is_needed(is_open=is_open) or now < self._retry_at:
            return []
        found: list[StoredDatagram] = []
        for seq in range(max(self._next, self._window.floor), self._window.next_seq):
            if len(found) == BATCH:
                break
            each = self._window.get(seq)
            if each is not None and each.data is not None and not each.is_stored:
                found.append(StoredDatagram(seq, each.records, each.data))
        return found

    def on_stored(self, seqs: Iterable[int]) -> None:
        """Note what the spool has."""
        for seq in seqs:
            self._next = max(self._next, seq + 1)
            each = self._window.get(seq)
            if each is None:
                continue
            self._window.store(each)
            is_crowded = 2 * self._window.retained_bytes > self.max_retained
            if is_crowded and each.state is DatagramState.QUEUED:
                self._window.unload(each)

    def on_store_failed(self, now: float) -> None:
        """Note that the spool takes nothing."""
        self._retry_at = now + RETRY_DELAY

    def to_load(self) -> list[int]:
        """Return the numbers of the datagrams that will be sent next and are not at hand."""
        window = self._window
        first = window.peek()
        if first is None or self.policy is StoragePolicy.OFF:
            return []
        if window.retained_bytes >= self.max_retained:
            self._unload_held()
        following = (window.get(seq) for seq in range(first.seq, first.seq + BATCH))
        return [each.seq for each in following if each is not None and _is_away(each)]

    def _unload_held(self) -> None:
        for each in self._window:
            if each.state is DatagramState.HELD:
                self._window.unload(each)


def _is_away(datagram: RetainedDatagram) -> bool:
    return datagram.data is None and datagram.state is DatagramState.QUEUED
