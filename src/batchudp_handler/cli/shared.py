"""How do several processes write lines to one file or one stream?

One at a time: each takes a lock for the lines of a whole batch, so that no line gets into another
one and no two processes rotate at once. What counts is the file that has the name when the lock
is held, whoever put it there.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import IO, TYPE_CHECKING

from batchudp_handler.console import FileOutput, StreamOutput

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SharedFileOutput", "SharedLock", "SharedStreamOutput"]


class SharedLock:
    """A lock between processes that have the same open file, such as forks of one process.

    The kernel releases it when its holder dies. It does not tell the threads of one process
    apart; an output's own lock does that.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


class SharedStreamOutput(StreamOutput):
    """Lines for a stream that other processes write to as well: none gets into another."""

    def __init__(self, stream: IO[str], shared: SharedLock) -> None:
        super().__init__(stream)
        self._shared = shared

    def write(self, lines: list[str]) -> None:
        """Write the lines, in order."""
        with self._shared:
            super().write(lines)


class SharedFileOutput(FileOutput):
    """Lines for a file that other processes append to and rotate as well."""

    access = os.O_RDWR  # its last byte is looked at

    def __init__(
        self, path: str, shared: SharedLock, *, max_bytes: int = 0, backups: int = 0
    ) -> None:
        self._shared = shared
        super().__init__(path, max_bytes=max_bytes, backups=backups)

    def write(self, lines: list[str]) -> None:
        """Write the lines, in order, into the file that has the name at this moment."""
        with self._shared:
            if self._has_moved():
                self.reopen()
            self._look_at_the_end()
            super().write(lines)

    def _has_moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def _look_at_the_end(self) -> None:
        """What the others did: how long the file is, and whether one died within a line."""
        status = os.fstat(self._descriptor)
        self._size = status.st_size
        if self._size and stat.S_ISREG(status.st_mode):
            self._is_torn = os.pread(self._descriptor, 1, self._size - 1) != b"\n"
