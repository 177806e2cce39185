"""A socket pair that wakes the flusher from any thread, signal handler or destructor.

One byte is sent without blocking. Events and conditions hold a lock while they are set, and
deadlock when a signal handler sets them again; a byte in a pipe has no lock.

The pair is opened by the waiter, at its first wait: a log call never opens a descriptor.
"""

from __future__ import annotations

import socket

from batchudp_handler.transport.owned import OwnedSocket

__all__ = ["Wakeup"]

READ_SIZE = 4096


class Wakeup:
    """What ends another thread's wait."""

    def __init__(self) -> None:
        self._reader: OwnedSocket | None = None
        self._writer: OwnedSocket | None = None

    def send(self) -> None:
        """Wake the waiter. Never waits, never raises.

        The descriptor is looked at each time, since the last turn may be long ago.
        """
        writer = self._writer
        try:
            if writer is not None and writer.is_intact():
                writer.socket.send(b"\0")
        except OSError:
            pass  # full: it is being woken already; broken: the waiter notices and renews

    def descriptors(self) -> list[int]:
        """Return the descriptor that becomes readable; nothing while there is no pair."""
        return [] if self._reader is None else [self._reader.socket.fileno()]

    def renew(self) -> bool:
        """Open the pair if there is none, or replace one that somebody closed.

        Returns:
            Whether it is new, so that wake-ups may have been lost.

        Raises:
            OSError: There is none, because no descriptor is left. Try again later.
        """
        if _is_intact(self._reader) and _is_intact(self._writer):
            return False
        self.close()
        reader, writer = socket.socketpair()
        self._reader, self._writer = OwnedSocket(reader), OwnedSocket(writer)
        return True

    def clear(self) -> None:
        """Forget the wake-ups that have come."""
        reader = self._reader
        if reader is None or not reader.is_intact():
            return
        try:
            while len(reader.socket.recv(READ_SIZE)) == READ_SIZE:
                pass
        except OSError:
            pass  # nothing (more) to read

    def close(self) -> None:
        """Close both ends, as far as they are ours."""
        pair = (self._reader, self._writer)
        self._reader = self._writer = None
        for each in pair:
            if each is not None:
                each.close()


def _is_intact(owned: OwnedSocket | None) -> bool:
    return owned is not None and owned.is_intact()
