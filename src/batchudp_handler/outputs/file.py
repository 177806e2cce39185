"""A file that lines are appended to: followed when it moves, rotated when it grows.

Before each write the path is looked at. A file that was moved, removed or replaced is opened
anew there, as `logging.handlers.WatchedFileHandler` does, with the mode and the owner that it
had. So it is after a rotation of our own, and what other processes do to the file at the same
path is seen in the same way.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from batchudp_handler.platform import (
    OPEN_OUTPUT,
    give_owner_and_mode,
    read_at,
    wait_until_writable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.output.pending_lines import PendingLines

__all__ = ["FileTarget"]

MOST_AT_ONCE = 1 << 20
ROTATION_RETRY_SECONDS = 60.0
"""A rotation that failed is tried again after this; meanwhile the file grows."""


def _say_nothing(_: OSError) -> None:
    pass


class FileTarget:
    """The target of lines at a path: a file, a FIFO or a device.

    Args:
        path: Where lines go; older parts get the endings `.1`, `.2` and so on.
        max_bytes: 0 never rotates. One line that is longer than this still goes out whole.
        backups: How many older parts are kept.
        exclusive: Held while a batch is written, where other processes write to the same file.
        like: What a file is made like if there is none.
        on_rotation_failed: Told why the file could not be rotated, when it begins to fail.

    Raises:
        OSError: The path cannot be opened. A FIFO that nobody reads is no error.
    """

    encoding = "utf-8"

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int = 0,
        backups: int = 0,
        exclusive: AbstractContextManager[object] | None = None,
        on_rotation_failed: Callable[[OSError], None] = _say_nothing,
        like: os.stat_result | None = None,
    ) -> None:
        self.name = path
        self.exclusive = exclusive or nullcontext()
        self._max_bytes = max_bytes
        self._backups = backups
        self._on_rotation_failed = on_rotation_failed
        self._rotates_at = float("-inf")
        self._descriptor = -1
        self._is_torn = False
        self.status = like
        """Of the file that is or was open."""
        self._size = self._synced_size = 0
        if not self._is_fifo():
            self._open()

    # --- writing ---------------------------------------------------------------------------------

    def write(self, lines: PendingLines) -> None:
        """Write some of the lines into the file that has the path at this moment."""
        self._follow(lines)
        room = self._room(lines)
        if self._is_torn and not lines.begun:
            self._size += os.write(self._descriptor, b"\n")
            self._is_torn = False
        written = os.write(self._descriptor, lines.chunk(room))
        self._size += written
        lines.on_written(written)

    def wait_for_room(self, seconds: float) -> None:
        """Wait until a FIFO or a device takes more."""
        wait_until_writable(self._descriptor, seconds)

    def give_up(self, lines: PendingLines) -> None:
        """Take the first half of a line back, if nothing was written behind it."""
        if lines.begun and self._is_file and self._descriptor >= 0:
            with suppress(OSError):
                if os.fstat(self._descriptor).st_size == self._size:
                    os.ftruncate(self._descriptor, self._size - lines.begun)
                    self._size -= lines.begun
        lines.begin_line_again()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                os.close(descriptor)

    @property
    def _is_file(self) -> bool:
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    # --- the path --------------------------------------------------------------------------------

    def _follow(self, lines: PendingLines) -> None:
        """Have the file open that is at the path, and know its end."""
        if self._descriptor < 0:
            self._open()
        now = self._look()
        if now is None or not os.path.samestat(now, self._open_status):
            self.give_up(lines)
            self._leave()
            self._open()
        elif self._is_file and now.st_size != self._size:
            self._on_other_size(now.st_size, lines)

    def _leave(self) -> None:
        """Close the file, and remember what it was like at last."""
        with suppress(OSError):
            self.status = os.fstat(self._descriptor)
        self.close()

    @property
    def _open_status(self) -> os.stat_result:
        assert self.status is not None
        return self.status

    def _look(self) -> os.stat_result | None:
        try:
            return os.stat(self.name)
        except FileNotFoundError:
            return None

    def _on_other_size(self, size: int, lines: PendingLines) -> None:
        """Go on after another process that wrote, or that emptied the file after copying it."""
        lines.begin_line_again()
        self._size, self._synced_size = size, min(size, self._synced_size)
        self._is_torn = self._ends_in_a_line()

    def _is_fifo(self) -> bool:
        try:
            return stat.S_ISFIFO(os.stat(self.name).st_mode)
        except OSError:
            return False

    def _open(self) -> None:
        access = os.O_WRONLY if self._is_fifo() else os.O_RDWR  # its last byte is looked at
        try:
            self._open_for(access)
        except PermissionError:
            if access == os.O_WRONLY:
                raise
            self._open_for(os.O_WRONLY)
        self._size = self._synced_size = self._open_status.st_size
        self._is_torn = self._ends_in_a_line()

    def _open_for(self, access: int) -> None:
        flags = access | os.O_APPEND | OPEN_OUTPUT
        before = self.status
        is_new = False
        try:
            descriptor = os.open(self.name, flags)
        except FileNotFoundError:
            mode = 0o666 if before is None else 0o600  # until it has the owner that it should
            descriptor = os.open(self.name, flags | os.O_CREAT, mode)
            is_new = True
        if is_new and before is not None and stat.S_ISREG(before.st_mode):
            give_owner_and_mode(descriptor, before)
        self._descriptor, self.status = descriptor, os.fstat(descriptor)

    def _ends_in_a_line(self) -> bool:
        """Return whether somebody began a line and died: the next one must not go on there."""
        if not (self._is_file and self._size):
            return False
        try:
            return read_at(self._descriptor, 1, self._size - 1) not in {b"\n", b""}
        except OSError:
            return False  # not open for reading

    # --- rotation --------------------------------------------------------------------------------

    def _room(self, lines: PendingLines) -> int:
        """Return how much may be written at once; rotate where the next line does not fit."""
        if not (self._max_bytes and self._is_file) or time.monotonic() < self._rotates_at:
            return MOST_AT_ONCE
        room = self._max_bytes - self._size
        if self._size and not lines.begun and lines.first_length > room:
            self._rotate(lines)
            room = self._max_bytes - self._size
        return min(room, MOST_AT_ONCE)

    def _rotate(self, lines: PendingLines) -> None:
        if lines.is_kept:
            self.sync(lines)
            lines.forget_written()
        try:
            self._shift()
            self._rotates_at = float("-inf")
        except OSError as error:
            if self._rotates_at == float("-inf"):
                self._on_rotation_failed(error)
            self._rotates_at = time.monotonic() + ROTATION_RETRY_SECONDS
        if self._descriptor < 0:
            self._open()

    def _shift(self) -> None:
        if not self._backups:
            os.ftruncate(self._descriptor, 0)
            self._size = self._synced_size = 0
            return
        self._leave()  # some systems do not rename a file that is open
        for number in range(self._backups - 1, 0, -1):
            older = f"{self.name}.{number}"
            if os.path.isfile(older):  # a directory of that name is not ours to move
                os.replace(older, f"{self.name}.{number + 1}")
        os.replace(self.name, f"{self.name}.1")

    # --- the disk --------------------------------------------------------------------------------

    def sync(self, lines: PendingLines) -> None:
        """Have the disk keep what was written.

        After an `fsync` that failed, Linux takes the pages for clean although the disk does not
        have them, and the next one succeeds. So what is still known of them is cut off and
        written anew; where that is not possible it comes twice rather than not at all.
        """
        if not self._is_file or self._descriptor < 0:
            return
        try:
            os.fsync(self._descriptor)
        except OSError:
            if lines.is_kept:
                self._take_back(lines)
            raise
        self._synced_size = self._size

    def _take_back(self, lines: PendingLines) -> None:
        lines.write_again()
        with suppress(OSError):
            if os.fstat(self._descriptor).st_size == self._size:
                os.ftruncate(self._descriptor, self._synced_size)
                self._size = self._synced_size
