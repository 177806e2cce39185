"""Heartbeats of the receiver's loops.

Each is asked to call back. A loop that hangs does not, and the age of its latest answer says for
how long. The worker may rightly be busy for a while, because handlers may be slow.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from batchudp_handler.receiver.guard import Guard, Loop, Seam, run_loop
from batchudp_handler.waits import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["READER", "WORKER", "Heartbeat"]

READER, WORKER = "reader", "worker"
STOP_SECONDS = 1.0
"""What a question that is being asked may delay the end."""


class Heartbeat:
    """The questions to the loops for a sign of life, asked by a thread of its own.

    Args:
        ask: Has a function called with each loop's name, on that loop, soon.
        interval: Seconds between two questions.
        after_question: Called each time; for a watchdog.
        guard: Where errors are counted.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        ask: Mapping[str, Callable[[Callable[[], None]], None]],
        *,
        interval: float,
        after_question: Callable[[], None],
        guard: Guard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._interval = interval
        self._after_question = after_question
        self._guard = Guard() if guard is None else guard
        self._clock = clock
        self._latest = dict.fromkeys(ask, clock())
        self._unanswered: set[str] = set()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batchudp-pulse", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._has_ended.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def silence(self) -> dict[str, float]:
        """Return by loop the seconds since it answered last; 0 for one that owes no answer."""
        now = self._clock()
        return {
            name: now - self._latest[name] if name in self._unanswered else 0.0
            for name in self._ask
        }

    def beat(self) -> None:
        """Ask each loop that owes no answer, so that questions to a hung one do not pile up."""
        for name, ask in self._ask.items():
            if name not in self._unanswered:
                self._unanswered.add(name)
                self._latest[name] = self._clock()
                self._guard.run(Seam.WORKER, ask, self._answer_of(name))
        self._after_question()

    def _answer_of(self, name: str) -> Callable[[], None]:
        def answer() -> None:
            self._unanswered.discard(name)

        return answer

    def _run(self) -> None:
        run_loop(self._guard, Loop.PULSE, self._turn, self._has_ended.is_set)

    def _turn(self) -> None:
        """Ask, then wait until it is time to ask again, or over."""
        try:
            self.beat()
        finally:
            until(self._has_ended.wait, self._interval)
