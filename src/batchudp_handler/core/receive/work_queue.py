"""The batches that are with the handlers, and the room that is left for others.

The queue itself is in the shell. Here its bytes are counted, because a receiver whose handlers are
slow must refuse datagrams before its memory is full, and must promise less before that.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.core.receive.events import BatchReceived

__all__ = ["WorkQueue"]

BATCH_OVERHEAD = 512
"""Charged for each batch on top of its bytes: a million batches of one byte are not a megabyte."""


class WorkQueue:
    """Counts the bytes of batches that were handed out and are not handled yet.

    Args:
        limit: Bytes that may wait; an empty queue takes a batch of any size.
    """

    __slots__ = ("_limit", "_without_stream", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._without_stream: Counter[BatchReceived] = Counter()
        self.used = 0

    def has_room(self, body: bytes) -> bool:
        """Return whether a batch with this body may be added."""
        return not self.used or self.used + len(body) + BATCH_OVERHEAD <= self._limit

    def share(self, amount: int) -> int:
        """Return a part of `amount`: all of it until half of the queue is used, then less."""
        limit = self._limit
        return amount * max(0, min(limit, 2 * (limit - self.used))) // limit

    def add(self, batch: BatchReceived) -> None:
        """Add a batch that is handed out."""
        self.used += len(batch.body) + BATCH_OVERHEAD
        if batch.stream_id is None:
            self._without_stream[batch] += 1

    def check_waiting(self, batch: BatchReceived) -> None:
        """Check that a batch of no stream waits here; those of streams are known by number.

        Raises:
            ValueError: It was answered for already, or never handed out.
        """
        if batch not in self._without_stream:
            raise ValueError("this batch is not waiting to be handled")

    def remove(self, batch: BatchReceived) -> None:
        """Remove a batch that was handled."""
        self.used -= len(batch.body) + BATCH_OVERHEAD
        if batch.stream_id is None:
            self._without_stream[batch] -= 1
            if not self._without_stream[batch]:
                del self._without_stream[batch]
