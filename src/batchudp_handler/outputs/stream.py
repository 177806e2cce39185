"""Standard output, whether a pipe, a terminal or a file, written without being held up by it.

A pipe or a terminal is opened once more without blocking, so that nobody who shares it notices.
Where that is not possible, small pieces are written when there is room for them.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, TextIO

from batchudp_handler.outputs.output import NoReader
from batchudp_handler.platform import HAS_NONBLOCKING_FILES, open_again, wait_until_writable

if TYPE_CHECKING:
    from batchudp_handler.core.output.pending_lines import PendingLines

__all__ = ["StreamTarget"]

MOST_AT_ONCE = 65_536
MOST_THAT_FITS = 512
"""Bytes that a pipe or a socket takes at once when it takes any: POSIX's least `PIPE_BUF`."""


class StreamTarget:
    """A text stream with a descriptor, such as standard output.

    Args:
        stream: Its encoding is used, its buffer is not.
        exclusive: Held while a batch is written, where other processes write there, too.
    """

    name = "standard output"

    def __init__(
        self, stream: TextIO, *, exclusive: AbstractContextManager[object] | None = None
    ) -> None:
        self.encoding = stream.encoding or "utf-8"
        self.exclusive = exclusive or nullcontext()
        stream.flush()
        self._raw, self._blocks, self._is_own = _open_again(stream)
        self._is_file = stat.S_ISREG(os.fstat(self._raw.fileno()).st_mode)
        self._size = 0

    def write(self, lines: PendingLines) -> None:
        """Write some of the lines."""
        descriptor = self._raw.fileno()
        if self._blocks and not wait_until_writable(descriptor, 0.0):
            raise _no_room()
        if lines.begun and self._is_file and os.fstat(descriptor).st_size < self._size:
            lines.begin_line_again()  # emptied by somebody under a line that was begun
        most = MOST_THAT_FITS if self._blocks else MOST_AT_ONCE
        try:
            written = self._raw.write(lines.chunk(most)[:most])
        except BrokenPipeError:
            raise NoReader from None
        if written is None:
            raise _no_room()
        lines.on_written(written)
        if lines.begun and self._is_file:
            self._size = os.fstat(descriptor).st_size

    def wait_for_room(self, seconds: float) -> None:
        """Wait until it takes more, or for so long."""
        wait_until_writable(self._raw.fileno(), seconds)

    def sync(self, lines: PendingLines) -> None:
        """Have the disk keep what was written, where a file is behind it."""
        if self._is_file:
            try:
                os.fsync(self._raw.fileno())
            except OSError:
                lines.write_again()
                raise

    def give_up(self, lines: PendingLines) -> None:
        """Take the first half of a line back from a file; what a pipe has taken it has."""
        if lines.begun and self._is_file:
            with suppress(OSError):
                descriptor = self._raw.fileno()
                end = os.fstat(descriptor).st_size
                if os.lseek(descriptor, 0, os.SEEK_CUR) == end:
                    os.ftruncate(descriptor, end - lines.begun)
                    os.lseek(descriptor, end - lines.begun, os.SEEK_SET)

    def close(self) -> None:
        """Close what was opened here; standard output itself stays open."""
        if self._is_own:
            self._raw.close()


def _no_room() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "Nobody reads")


def _open_again(stream: TextIO) -> tuple[io.RawIOBase, bool, bool]:
    """Return where to write, whether a write may block, and whether it is ours to close."""
    raw: io.RawIOBase = getattr(stream.buffer, "raw", stream.buffer)  # type: ignore[arg-type]  # unbuffered, it is its own
    descriptor = raw.fileno()
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or not HAS_NONBLOCKING_FILES or not os.get_blocking(descriptor):
        return raw, False, False
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            return io.FileIO(open_again(descriptor), "wb"), False, True
        except OSError:
            pass  # no /proc, or the terminal belongs to another user
    return raw, True, False
