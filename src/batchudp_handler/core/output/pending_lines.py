"""Lines that wait to be written, and how far the writing has come.

A write may take part of what it is given, in the middle of a line. The rest goes on from exactly
there, so that no line is torn, repeated or left out. Only when the file itself went away under a
line that was begun, the line begins again in the next file.
"""

from __future__ import annotations

__all__ = ["PendingLines"]


class PendingLines:
    """A queue of encoded lines, of which the first may be written in part.

    A line is what one record became, with its last line feed; a traceback is part of it.
    """

    __slots__ = ("_lines", "_next", "_offset", "is_kept", "waiting")

    def __init__(self, *, keeps: bool = False) -> None:
        self._lines: list[bytes] = []
        self._next = 0
        self._offset = 0
        self.is_kept = keeps
        """Whether written lines are known until `forget_written`."""
        self.waiting = 0
        """Bytes that are not written."""

    def __bool__(self) -> bool:
        return self.waiting > 0

    @property
    def begun(self) -> int:
        """Bytes of the first line that are written, 0 between two lines."""
        return self._offset

    @property
    def first_length(self) -> int:
        """Bytes that the first line still has."""
        return len(self._lines[self._next]) - self._offset

    def add(self, line: bytes) -> None:
        """Let a line wait behind the others."""
        self._lines.append(line)
        self.waiting += len(line)

    def chunk(self, limit: int) -> bytes:
        """Return what to write next: whole lines that fit `limit` bytes, or one that does not."""
        lines = self._lines
        if self.waiting <= limit and not self._offset:
            return b"".join(lines[self._next :] if self._next else lines)
        room, end = limit - self.first_length, self._next + 1
        while end < len(lines) and len(lines[end]) <= room:
            room -= len(lines[end])
            end += 1
        return lines[self._next][self._offset :] + b"".join(lines[self._next + 1 : end])

    def on_written(self, count: int) -> None:
        """Note that so many bytes of the latest chunk are in the file."""
        self.waiting -= count
        if not self.waiting:
            self._next, self._offset = len(self._lines), 0
            if not self.is_kept:
                self.forget_written()
            return
        while count >= self.first_length:
            count -= self.first_length
            self._next, self._offset = self._next + 1, 0
        self._offset += count

    def begin_line_again(self) -> None:
        """Write the first line anew: the file that holds its beginning is gone."""
        self.waiting += self._offset
        self._offset = 0

    def write_again(self) -> None:
        """Write again all that was written since `forget_written`: it cannot be trusted."""
        self._next = self._offset = 0
        self.waiting = sum(map(len, self._lines))

    def forget_written(self) -> None:
        """Forget the written lines, which are safe now."""
        del self._lines[: self._next]
        self._next = 0

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._next = self._offset = self.waiting = 0
