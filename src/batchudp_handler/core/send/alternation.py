"""Two receivers behind one address, as an acknowledged sender sees them: they answer by turns.

A receiver draws a random epoch at each start, so one that is gone never answers again, but for
what was under way. When answers of one epoch come again and again after those of another, and that
for longer than anything is under way, both receivers live, and something shares out the datagrams
among them. No stream can be confirmed so.
"""

from __future__ import annotations

__all__ = ["Alternation"]

MIN_RETURNS = 4
MIN_TIME = 2.0
"""Seconds between the first and the last return of one epoch: longer than late answers take."""
REMEMBERED_EPOCHS = 16


class Alternation:
    """Counts how often a receiver answers after another one has."""

    __slots__ = ("_latest", "_returns", "count", "is_suspected")

    def __init__(self) -> None:
        self.count = 0
        """Returns of any epoch."""
        self.is_suspected = False
        self._latest = 0
        self._returns: dict[int, tuple[int, float]] = {}
        """By epoch: how often it came back, and when it did first."""

    def on_answer(self, epoch: int, now: float) -> None:
        """Note which receiver an authentic answer came from."""
        if epoch == self._latest:
            return
        self._latest = epoch
        if epoch not in self._returns:
            if len(self._returns) == REMEMBERED_EPOCHS:
                del self._returns[next(iter(self._returns))]
            self._returns[epoch] = (0, now)
            return
        returns, since = self._returns[epoch]
        since = since if returns else now
        self._returns[epoch] = (returns + 1, since)
        self.count += 1
        self.is_suspected |= returns + 1 >= MIN_RETURNS and now - since >= MIN_TIME
