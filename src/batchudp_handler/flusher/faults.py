"""A fault of this package's own pauses the thread that sends, ever longer while it lasts.

It never ends the thread and never lets it spin. It is counted each time, and said on stderr at
once, then rarely, with the last line of its traceback. A wait that returns at once, again and
again, is such a fault as well.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from batchudp_handler.flusher.note import INTERVAL, write_note

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Faults", "SpinningError"]

FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
"""Seconds: doubled from first to last while one fault follows another."""
QUICK = 0.001
"""Seconds between two turns below which the second may belong to a spin."""
SPIN = 1_000
"""So many quick turns without any work are a spin."""


class SpinningError(Exception):
    """The thread turns and turns without anything to do."""


class Faults:
    """The faults of one flusher.

    Args:
        count: Told of every fault.
    """

    def __init__(self, count: Callable[[Exception], None]) -> None:
        self._count = count
        self._pause = 0.0
        self._over_at = float("-inf")
        self._told_at = float("-inf")
        self._quick = 0
        self._work = -1
        self._turned_at = float("-inf")

    def handle(self, error: Exception, now: float) -> float:
        """Count a fault and tell it; returns the seconds to pause."""
        self._count(error)
        # one soon after the pause that another had asked for: it lasts
        lasts = now < self._over_at + self._pause
        self._pause = min(self._pause * 2, LAST_PAUSE) if lasts else FIRST_PAUSE
        self._over_at = now + self._pause
        if now >= self._told_at + INTERVAL:
            self._told_at = now
            last_line = traceback.format_exception_only(error)[-1].strip()
            write_note(
                f"internal error, sending pauses and will be tried again (please report it): "
                f"{last_line}{_place(error)}"
            )
        return self._pause

    def watch(self, work: int, now: float) -> None:
        """Note that a turn and its wait are over; `work` grows with whatever a turn does.

        Raises:
            SpinningError: Too many turns in a row came quickly and did nothing.
        """
        is_spinning = work == self._work and now < self._turned_at + QUICK
        self._quick = self._quick + 1 if is_spinning else 0
        self._work, self._turned_at = work, now
        if self._quick >= SPIN:
            self._quick = 0
            raise SpinningError("the wait for work returns at once")


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
