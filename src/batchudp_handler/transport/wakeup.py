"""How is the flusher woken, from any thread, a signal handler or a destructor?

With a byte through a socket pair, sent without blocking. Events and conditions hold a lock while
they are set, and deadlock when a signal handler sets them again; a byte in a pipe has no lock.
"""

from __future__ import annotations

import socket

from batchudp_handler.transport.owned import OwnedSocket

__all__ = ["Wakeup"]

READ_SIZE = 4096


class Wakeup:
    """Ends another thread's wait."""

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        reader, writer = socket.socketpair()
        self._reader, self._writer = OwnedSocket(reader), OwnedSocket(writer)

    def send(self) -> None:
        """Wake the waiter. Never waits, never raises."""
        writer = self._writer
        try:
            if writer.is_intact():
                writer.socket.send(b"\0")
        except OSError:
            pass  # full: it is being woken already; broken: the waiter notices and renews

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._reader.socket.fileno()

    def renew(self) -> bool:
        """Replace the pair if somebody closed it; True when that was so."""
        if self._reader.is_intact() and self._writer.is_intact():
            return False
        self.close()
        self._open()
        return True

    def clear(self) -> None:
        """Forget the wake-ups that have come."""
        if not self._reader.is_intact():
            return
        try:
            while len(self._reader.socket.recv(READ_SIZE)) == READ_SIZE:
                pass
        except OSError:
            pass  # nothing (more) to read

    def close(self) -> None:
        """Close both ends, as far as they are ours."""
        self._reader.close()
        self._writer.close()
