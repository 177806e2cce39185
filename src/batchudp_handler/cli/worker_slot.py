"""The place of one worker under its supervisor: a socket, and the process that reads it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

    from batchudp_handler.core.receive.stats import ReceiverStats

__all__ = ["WorkerSlot"]


STEADY_SECONDS = 5.0
"""A worker that lived so long is replaced at once."""


FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
"""Seconds before one that did not is replaced; twice as long each time."""


@dataclass(slots=True)
class WorkerSlot:
    """One worker's place: its socket, and the process that reads it now."""

    number: int
    process: ForkProcess | None = None
    link: Connection | None = None
    stats: ReceiverStats | None = None
    is_ready: bool = False
    started: float = 0.0
    starts_at: float | None = None
    delay: float = FIRST_DELAY

    def kill(self) -> None:
        """End the process at once, if there is one."""
        if self.process is not None and self.link is not None:
            self.process.kill()
            self.forget()

    def forget(self) -> int:
        """Wait for the process, which has ended, and return its exit code."""
        if self.process is None or self.link is None:
            return 0
        self.link.close()
        self.process.join()
        code = self.process.exitcode or 0
        self.process = self.link = None
        return code

    def tell(self, word: str) -> None:
        """Send a word to the process; one that is dead is noticed by its link."""
        if self.link is not None:
            with contextlib.suppress(OSError):
                self.link.send(word)

    def delay_start(self, now: float) -> None:
        """Plan the next process: at once after a steady one, later each time after others."""
        if now - self.started >= STEADY_SECONDS:
            self.delay = FIRST_DELAY
        self.starts_at = now + self.delay
        self.delay = min(self.delay * 2, LONGEST_DELAY)
