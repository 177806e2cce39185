"""The datagrams of a stream that were received, and those of them that are final.

A floor and two bitmaps above it, kept as plain integers. In order and without a gap both are 0 and
a datagram costs one comparison and one addition; a gap of 4,096 datagrams costs half a
microsecond. RFC 6479 keeps a ring of words for the same purpose; a Python integer is that ring
already.
"""

from __future__ import annotations

from enum import Enum

from batchudp_handler.core.wire.constants import WINDOW_SIZE

__all__ = ["Place", "ReceiveWindow"]


class Place(Enum):
    """Where a sequence number lies."""

    NEW = "new"
    DUPLICATE = "duplicate"
    BEYOND = "beyond"


class ReceiveWindow:
    """Floor and bitmaps of one stream.

    Every datagram below `floor` is final. Bit i of `held` says that datagram `floor + i` was
    received, the same bit of `_final` that it is final too. An acknowledged stream marks, and
    finishes later; a one-way stream does both at once, so that its floor is simply the first
    datagram that is not here.
    """

    __slots__ = ("_final", "floor", "given_up", "held")

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self.held = 0
        self._final = 0
        self.given_up = floor
        """The sender holds nothing below. May be far ahead of what is still with the handlers."""

    def place(self, seq: int) -> Place:
        """Return whether a datagram is new, a duplicate, or too far ahead."""
        offset = seq - self.floor
        if offset < 0:
            return Place.DUPLICATE
        if offset >= WINDOW_SIZE:
            return Place.BEYOND
        if self.held >> offset & 1 or seq < self.given_up:
            return Place.DUPLICATE
        return Place.NEW

    @property
    def bitmap(self) -> int:
        """The bits that an ACK says above the floor."""
        return self.held & ((1 << WINDOW_SIZE) - 1)

    def mark(self, seq: int) -> None:
        """Mark a new datagram as received; it is not final yet."""
        self.held |= 1 << (seq - self.floor)

    def mark_final(self, seq: int) -> None:
        """Mark a new datagram as received and final: nothing will be reported about it."""
        if seq == self.floor and not self.held:
            self.floor = seq + 1
        else:
            self.finish(seq, 1)

    def finish(self, seq: int, count: int) -> None:
        """Make `count` datagrams from `seq` on final, received or not."""
        if seq < self.floor:
            count -= self.floor - seq
            seq = self.floor
        if count <= 0:
            return
        bits = ((1 << count) - 1) << (seq - self.floor)
        self.held |= bits
        self._final |= bits
        self._advance()

    def give_up_below(self, seq: int) -> None:
        """Make final what is missing below `seq`: the sender holds nothing there."""
        if seq > self.given_up:
            self.given_up = seq
            self._advance()

    def slide_to(self, floor: int) -> None:
        """Move the floor, whatever is below."""
        if floor > self.floor:
            self._shift(floor - self.floor)
            self._advance()

    def _advance(self) -> None:
        """Let the floor pass everything final."""
        while self._final & 1 or self.given_up > self.floor:
            if self.given_up > self.floor:
                self._fill_given_up()
            run = _trailing_ones(self._final)
            if not run:
                return
            self._shift(run)

    def _fill_given_up(self) -> None:
        """Make final what was given up, as far as the bitmaps reach."""
        ahead = self.given_up - self.floor
        waiting = self.held & ~self._final
        if not waiting:
            # nothing is with the handlers: no need to build a bitmap of any length
            self._shift(ahead)
            return
        reach = (1 << min(ahead, WINDOW_SIZE)) - 1
        self._final |= reach & ~waiting
        self.held |= reach

    def _shift(self, count: int) -> None:
        self.floor += count
        self.held >>= count
        self._final >>= count


def _trailing_ones(bits: int) -> int:
    """Return how many of the lowest bits are set, without a gap."""
    return ((bits + 1) & ~bits).bit_length() - 1
