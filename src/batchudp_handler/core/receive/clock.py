"""The time as the receiving machine was told it last.

Nothing here reads a clock. Our own wall clock may be set while we run, and may not be set yet when
we start. Of all that it has said, the earliest counts, so that a step never makes a fresh datagram
look old.
"""

from __future__ import annotations

from math import inf

__all__ = ["Clock"]

CLOCK_IS_SET = 1_577_836_800
"""The year 2020. A clock that says less has not been set since the machine was switched on."""


class Clock:
    """Monotonic and wall clock time, and how they relate to each other.

    Args:
        now: On a clock that never goes back.
        wall: Unix time.
    """

    __slots__ = ("_offset", "now", "wall")

    def __init__(self, now: float, wall: float) -> None:
        self._offset = inf
        self.set(now, wall)

    def set(self, now: float, wall: float) -> None:
        """Take both times."""
        self.now = now
        self.wall = wall
        offset = wall - now
        if offset < self._offset and wall >= CLOCK_IS_SET:
            self._offset = offset

    def advance(self, now: float) -> None:
        """Take the monotonic time; an earlier one than before changes nothing."""
        self.now = max(now, self.now)

    def earliest_wall(self, then: float) -> float:
        """Return the earliest Unix time that monotonic time `then` may have been.

        Minus infinity while the wall clock has never been set.
        """
        return -inf if self._offset == inf else int(then + self._offset)
