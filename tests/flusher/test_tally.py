"""A tally shows every addition that was complete, and never waits for the thread that asks."""

from __future__ import annotations

import threading
import time

from batchudp_handler.flusher.tally import Tally


def test_a_reader_waits_for_a_thread_that_the_system_has_stopped() -> None:
    """On a busy machine a thread may stand still in the middle of adding up, for long."""
    tally = Tally()
    tally.add(3)
    tally._lock.acquire()
    threading.Timer(0.2, tally._lock.release).start()

    assert tally.value == 3


def test_who_interrupts_the_adding_up_does_not_wait_for_it() -> None:
    """A signal handler that asks would otherwise wait for the code that it has interrupted."""
    tally = Tally()
    asked: list[float] = []

    class Interrupting(int):
        def __radd__(self, other: int) -> int:
            began = time.monotonic()
            assert tally.value == other
            asked.append(time.monotonic() - began)
            return other + int(self)

    tally.add(Interrupting(3))

    assert tally.value == 3
    assert asked[0] < 0.5
