"""Paths of unix sockets: whose they are, and how one that a dead process left is removed.

A socket's path outlives its process, and `bind` refuses a path that is there. Whether somebody
listens is known by connecting: a path that refuses has nobody behind it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from batchudp_handler.platform import AF_UNIX

__all__ = ["identity_of", "remove_dead", "remove_own"]

PATIENCE = 1.0
"""Seconds for a stream socket whose queue of connections is full."""


def identity_of(path: str) -> tuple[int, int] | None:
    """Device and inode of what is at a path; None: nothing that can be looked at."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove_dead(path: str, kind: socket.SocketKind) -> None:
    """Remove the socket of a process that died; one that lives keeps it, and so does a file."""
    before = identity_of(path)
    if before is None or not _is_dead_socket(path, kind):
        return
    if identity_of(path) == before:  # and nobody else has made a new one meanwhile
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def remove_own(path: str, identity: tuple[int, int] | None) -> None:
    """Remove a path that was made here, unless something else has taken its place."""
    if identity is not None and identity_of(path) == identity:
        with contextlib.suppress(OSError):
            os.unlink(path)


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
