"""Waits of any length, on primitives that take only so much.

`poll` takes milliseconds that fit a C `int` (24 days), `Lock.acquire` and `Thread.join` take
`threading.TIMEOUT_MAX` (292 years, 49 days on Windows), `time.sleep` and `Socket.settimeout` have
limits of their own, and each raises `OverflowError` beyond its own. Settings may be larger than
any of them. So nothing in this package waits for a time that somebody else chose except through
this module: in pieces of an hour at most, and again until the time is over.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

__all__ = ["LONGEST", "clamped", "join_thread", "milliseconds", "sleep_for", "until"]

LONGEST = 3_600.0
"""Seconds that one call waits at most: far below every platform's limit, and rare enough."""


def clamped(seconds: float | None) -> float | None:
    """Return seconds for a loop that looks again after each wait; None stays: without end."""
    return None if seconds is None else min(max(seconds, 0.0), LONGEST)


def milliseconds(seconds: float | None) -> int | None:
    """Return the time for `poll`, rounded up: a wait that ends early would be made again."""
    short = clamped(seconds)
    return None if short is None else math.ceil(short * 1000)


def until(wait: Callable[[float], object], seconds: float | None) -> bool:
    """Call ``wait(piece)`` until it returns something true, or until the time is over.

    Args:
        wait: Waits for so many seconds at most; true when what it waits for has happened.
        seconds: In all; None or infinity: without end; a negative number counts as 0.

    Returns:
        Whether it happened.
    """
    end = math.inf if seconds is None else time.monotonic() + max(seconds, 0.0)
    while True:
        left = end - time.monotonic()
        if wait(min(max(left, 0.0), LONGEST)):
            return True
        if left <= LONGEST:
            return False


def join_thread(thread: Thread, seconds: float | None) -> bool:
    """Wait for a thread's end; True if it has ended."""

    def has_ended(piece: float) -> bool:
        thread.join(piece)
        return not thread.is_alive()

    return until(has_ended, seconds)


def sleep_for(seconds: float) -> None:
    """Sleep, however long."""
    until(time.sleep, seconds)
