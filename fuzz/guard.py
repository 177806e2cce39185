"""What must hold for every input, whatever the target is.

No exception but the package's own (each target says which), and no input that takes long. Time is
the processor time of this thread, so that a busy machine fails nothing; a first slow run may have
been the garbage collector's, so whoever replays an input tries again.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SECONDS_PER_INPUT", "TooSlow", "limited", "set_slack"]

SECONDS_PER_INPUT = 0.050

_slack = [1.0]


class TooSlow(AssertionError):
    """An input took longer than it may."""


def set_slack(factor: float) -> None:
    """Allow so many times more: code under coverage instrumentation runs slower."""
    _slack[0] = factor


@contextmanager
def limited() -> Iterator[None]:
    """Hold the code inside to the time that one input may take."""
    started = time.thread_time()
    yield
    taken = time.thread_time() - started
    if taken > SECONDS_PER_INPUT * _slack[0]:
        raise TooSlow(f"{taken * 1000:.0f} ms, and {SECONDS_PER_INPUT * 1000:.0f} are allowed")
