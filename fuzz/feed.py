"""Decisions made of a fuzzer's bytes.

A fuzzer makes bytes; a protocol machine is driven by calls with numbers in them. `Feed` turns the
former into the latter, so that each small change of the input is a small change of the story, and
the values that break things (0, the largest, one off what is expected) are near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Feed"]

T = TypeVar("T")

NEAR = 128
POWERS = 192


class Feed:
    """Reads decisions from bytes; when they are used up, all that follow are 0."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def take(self, count: int) -> bytes:
        """So many bytes, or what is left."""
        taken = self._data[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def below(self, limit: int) -> int:
        """A number from 0 to `limit - 1`."""
        width = max(1, ((limit - 1).bit_length() + 7) // 8)
        return int.from_bytes(self.take(width), "big") % limit

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.below(len(choices))]

    def number(self, bits: int, near: int = 0) -> int:
        """A number of so many bits: about `near`, about a power of two, or any."""
        kind = self.byte()
        if kind < NEAR:
            value = near + (kind if kind < NEAR // 2 else kind - NEAR)
        elif kind < POWERS:
            value = (1 << (kind - NEAR)) - self.below(3)
        else:
            value = int.from_bytes(self.take(bits // 8), "big")
        return value % (1 << bits)
