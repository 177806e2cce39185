"""Paths to which unix sockets are bound, and the removal of those that dead processes left.

A socket's path outlives its process, and `bind` refuses a path that is there. Whether somebody
listens is known by connecting: a path that refuses has nobody behind it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from batchudp_handler.platform import AF_UNIX

__all__ = ["BoundPath", "remove_dead"]

PATIENCE = 1.0
"""Seconds for a stream socket whose queue of connections is full."""


class BoundPath:
    """The path to which a socket of ours is bound.

    A socket that a dead process left there is removed first.

    Args:
        sock: A unix socket without a name.
        path: Where others find it.

    Raises:
        OSError: Something else is there, or the directory is missing.
    """

    __slots__ = ("_identity", "path")

    def __init__(self, sock: socket.socket, path: str) -> None:
        remove_dead(path, socket.SocketKind(sock.type))
        sock.bind(path)
        self.path = path
        self._identity = _identity_of(path)

    def remove(self) -> None:
        """Remove the path, unless something else has taken its place."""
        if self._identity is not None and _identity_of(self.path) == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def remove_dead(path: str, kind: socket.SocketKind) -> None:
    """Remove the socket of a process that died; one that lives keeps it, and so does a file."""
    before = _identity_of(path)
    if before is None or not _is_dead_socket(path, kind):
        return
    if _identity_of(path) == before:  # and nobody else has made a new one meanwhile
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _identity_of(path: str) -> tuple[int, int] | None:
    """Return device and inode of what is at a path; None: nothing that can be looked at."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_dead_socket(path: str, kind: socket.SocketKind) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False  # bind says that the address is in use
        with socket.socket(AF_UNIX, kind) as probe:
            probe.settimeout(PATIENCE)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
