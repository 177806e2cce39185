"""Sums that threads, signal handlers and destructors may add to at any moment.

``total += 1`` is three steps, and a count is lost when another thread or a signal handler comes
between them. A lock that is waited for would hang a signal handler that interrupts its holder. So
each addition is an append to a deque, which is one step, and whoever gets the lock without waiting
for it adds up what has gathered.
"""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["Tally"]

GATHERED = 64
"""Additions that wait to be added up, before the one who makes another tries to."""
PATIENCE = 1.0
"""Seconds that a reader waits for another thread that is adding up.

The system may stop that thread for many milliseconds, and a sum without what it holds would
contradict earlier answers."""


class Tally:
    """One such sum."""

    __slots__ = ("_adder", "_additions", "_lock", "_sum")

    def __init__(self) -> None:
        self._additions: deque[int] = deque()
        self._lock = threading.Lock()
        self._adder = 0  # the thread that adds up
        self._sum = 0

    def add(self, amount: int = 1) -> None:
        """Add a number, which may be negative; never waits."""
        self._additions.append(amount)
        if len(self._additions) > GATHERED:
            self.estimate()

    def estimate(self) -> int:
        """The sum; not exact to the last addition while somebody else adds up. Never waits."""
        if self._lock.acquire(blocking=False):
            try:
                self._add_up()
                return self._sum
            finally:
                self._lock.release()
        try:
            return self._sum + sum(self._additions.copy())
        except RuntimeError:  # one more came while it was copied
            return self._sum

    @property
    def value(self) -> int:
        """The sum of all additions that were complete when it was asked for."""
        if self._adder == threading.get_ident() or not self._lock.acquire(timeout=PATIENCE):
            return self._sum  # who interrupted the adding up would wait for itself
        try:
            self._add_up()
            return self._sum
        finally:
            self._lock.release()

    def _add_up(self) -> None:
        self._adder = threading.get_ident()
        # as many as there are now: others may add faster than this takes them
        for _ in range(len(self._additions)):
            self._sum += self._additions.popleft()
        self._adder = 0
