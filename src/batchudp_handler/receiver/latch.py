"""A flag that is raised once and can be waited for, also by a signal handler.

`threading.Event` takes a lock inside `wait` and `set`. A signal handler that interrupts its own
thread there and waits for the same event waits for ever.
"""

from __future__ import annotations

import contextlib
import threading

from batchudp_handler.waits import until

__all__ = ["Latch"]


class Latch:
    """A flag that is not set when it is made."""

    def __init__(self) -> None:
        self.is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let everybody go who waits, now and later."""
        self.is_set = True
        with contextlib.suppress(RuntimeError):  # it is open already
            self._lock.release()

    def is_set_within(self, seconds: float) -> bool:
        """Wait until it is set, for so many seconds at most; whether it is."""
        if not self.is_set and until(lambda piece: self._lock.acquire(timeout=piece), seconds):
            self.set()  # lets the next one in line go
        return self.is_set
