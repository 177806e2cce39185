"""A socket of ours, told from a foreign one that got its descriptor's number.

Programs that turn themselves into daemons close every descriptor they find (`os.closerange`).
Soon somebody else's file gets the number that was ours, and a datagram would be written into
it, or it would be closed. So the inode is remembered and compared before a descriptor is used
or closed; what has become foreign is let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.platform import identity_of_socket

if TYPE_CHECKING:
    import socket

__all__ = ["OwnedSocket"]


class OwnedSocket:
    """A socket that does not block and knows whether its descriptor is still its own."""

    __slots__ = ("_identity", "socket")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._identity = identity_of_socket(sock.fileno())

    def is_intact(self) -> bool:
        """Return whether the descriptor still is the one that was opened."""
        identity = identity_of_socket(self.socket.fileno())
        return identity is not None and identity == self._identity

    def close(self) -> None:
        """Close what is ours; let go of what is not."""
        if self.is_intact():
            self.socket.close()
        else:
            self.socket.detach()
