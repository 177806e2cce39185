"""The name of the sender's unix socket, under which the receiver can answer it.

A datagram socket without a name cannot be answered. On Linux the kernel gives an abstract name,
which costs nothing and goes with the socket. But each network namespace has abstract names of its
own: a receiver in another container hears the sender and cannot answer. A path reaches everybody
who has the directory. So the abstract name is tried first, and when nothing comes back, or where
there are none, a path beside the receiver's socket; then the two in turn, each for longer, until
an answer comes. A path is not tried first because it leaves a file when the process is killed, and
needs a directory that the sender may write to.
"""

from __future__ import annotations

import contextlib
import os
import socket

from batchudp_handler.core.wire.reply_names import is_reply_name, reply_path
from batchudp_handler.platform import HAS_ABSTRACT_NAMES
from batchudp_handler.unix_paths import BoundPath, remove_dead

__all__ = ["ReplyName"]

FIRST_PATIENCE, LAST_PATIENCE = 0.15, 10.0
"""Seconds that an answer may take before another name is tried; doubled."""
MOST_LOOKED_AT = 1_000
"""Files beside the receiver's socket that are looked at for what dead senders left."""


class ReplyName:
    """A source of names for one socket after the other, until one is answered.

    Args:
        receiver: The path of the receiver's socket.
    """

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver
        self._is_path_wanted = not HAS_ABSTRACT_NAMES
        self._patience = FIRST_PATIENCE
        self._asked_at: float | None = None
        self._is_answered = False
        self._bound: BoundPath | None = None
        self._pid = 0

    def bind(self, sock: socket.socket) -> OSError | None:
        """Name a new socket; return why it has no path, if it should have had one."""
        self._asked_at, self._is_answered = None, False
        error = self._bind_to_path(sock) if self._is_path_wanted else None
        if HAS_ABSTRACT_NAMES and self._bound is None:
            sock.bind("")
        return error

    def release(self) -> None:
        """Remove the path of the socket that is closed now; the child of a fork does not."""
        if self._bound is not None and self._pid == os.getpid():
            self._bound.remove()
        self._bound = None

    def on_sent(self, now: float) -> None:
        """Note that a datagram left that may be answered."""
        if self._asked_at is None:
            self._asked_at = now

    def on_answer(self) -> None:
        """Keep to the present kind of name, for the sockets that follow as well."""
        self._is_answered = True
        self._patience = FIRST_PATIENCE

    def is_to_change(self, now: float) -> bool:
        """Return whether another name should be tried; if so, the next `bind` does."""
        if self._is_answered or self._asked_at is None:
            return False
        if now < self._asked_at + self._patience:
            return False
        self._patience = min(self._patience * 2, LAST_PATIENCE)
        self._is_path_wanted = not (self._is_path_wanted and HAS_ABSTRACT_NAMES)
        return True

    def _bind_to_path(self, sock: socket.socket) -> OSError | None:
        path = reply_path(self._receiver, int.from_bytes(os.urandom(8)))
        try:
            self._remove_dead_ones()
            self._bound, self._pid = BoundPath(sock, path), os.getpid()
            os.chmod(path, 0o666)  # the receiver may run as somebody else
        except OSError as error:
            return error
        return None

    def _remove_dead_ones(self) -> None:
        directory = os.path.dirname(self._receiver) or "."
        with os.scandir(directory) as entries:
            for entry, _ in zip(entries, range(MOST_LOOKED_AT), strict=False):
                if is_reply_name(entry.name):
                    with contextlib.suppress(OSError):
                        remove_dead(os.path.join(directory, entry.name), socket.SOCK_DGRAM)
