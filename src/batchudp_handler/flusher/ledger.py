"""The books of one handler: what became of every record that it took.

The owner of the session settles the books after each step: it copies the counters into one
`Books`, which never changes, and puts that in its place at once. So whoever asks, on whatever
thread, sees the numbers of one moment. `accepted` is counted where records come in; `waiting` is
what of them is not found anywhere else, in the buffer or just on its way out of it. So the sum
holds whenever it is read.
"""

from __future__ import annotations

import threading
from time import sleep  # not gevent's: what is waited for is another thread's step
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.send.stats import SenderStats
from batchudp_handler.flusher.books import Books, books_of

if TYPE_CHECKING:
    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.session import Session
    from batchudp_handler.flusher.buffer import Buffer, View
    from batchudp_handler.flusher.loop import Loop

__all__ = ["Ledger"]

LOOKS = 200
"""How often a reader looks at once for a moment at which no record is on its way."""
MORE_LOOKS = 200
"""How often it looks then, a millisecond apart: the system may have stopped the owner."""
PATIENCE = 0.05
"""Seconds that a reader waits for another one; one that interrupted it need not."""


class Ledger:
    """Keeps the books of one flusher, and shows them."""

    def __init__(self, started_at: float) -> None:
        self.faults: dict[str, int] = {}
        """Errors of this package's own that ended a turn, by the exception's name."""
        self._started_at = started_at
        self._seen = 0  # the largest `accepted` that anybody was shown
        self._showing = threading.Lock()

    # --- for the owner --------------------------------------------------------------------------

    def count_fault(self, error: Exception) -> None:
        """Count an error that should not have happened."""
        name = f"internal_{type(error).__name__}"
        self.faults[name] = self.faults.get(name, 0) + 1

    def settle(self, buffer: Buffer[Books], session: Session) -> None:
        """Note what the session has done so far."""
        buffer.settle(books_of(session), *session.held)

    def write_off(self, buffer: Buffer[Books], session: Session) -> None:
        """Count as dropped what is left in a session that a fault keeps from ending by itself.

        That is all that is found nowhere else, whatever the session says.
        """
        if session.is_written_off:
            return
        session.write_off(0)
        books, (_, accepted, dropped) = books_of(session), buffer.rough_view()
        left = accepted + books.adopted - books.settled - sum(dropped.values()) - len(buffer)
        session.write_off(max(left, 0))
        self.settle(buffer, session)

    # --- for anyone -----------------------------------------------------------------------------

    def lost(self, buffer: Buffer[Books]) -> dict[str, int]:
        """Records that were accepted and will not be sent, or not be confirmed, by cause."""
        view = buffer.rough_view()
        lost = _added(view.dropped, view.books.dropped)
        lost["unconfirmed"] = view.books.numbers["unconfirmed"]
        return lost

    def stats(self, buffer: Buffer[Books], loop: Loop | None, now: float) -> SenderStats:
        """Everything, as one frozen view."""
        books, accepted, dropped_before = self._view(buffer)
        dropped = _added(dropped_before, books.dropped)
        accepted += books.adopted
        values: dict[str, Any] = {
            **books.numbers,
            "accepted": accepted,
            "waiting": accepted - books.settled - sum(dropped_before.values()),
            "retained": books.retained,
            "spooled": books.spooled,
            "dropped": {cause: number for cause, number in dropped.items() if number},
            "uptime": now - self._started_at,
        }
        if loop is not None:
            values.update(_flushes(loop.session.counters))
            values.update(_socket(loop, self.faults))
            values.update(_stream(loop.session))
            values["last_error"] = loop.trouble(now)
        return SenderStats(**values)

    def _view(self, buffer: Buffer[Books]) -> View[Books]:
        """The state of a moment, in which no record is missing that an earlier answer had."""
        is_alone = self._showing.acquire(timeout=PATIENCE)
        try:
            view = self._look(buffer)
            if view.accepted < self._seen:  # another one asked meanwhile, and was told more
                view = self._look(buffer)
            self._seen = accepted = max(self._seen, view.accepted)
            return view._replace(accepted=accepted)
        finally:
            if is_alone:
                self._showing.release()

    def _look(self, buffer: Buffer[Books]) -> View[Books]:
        for look in range(LOOKS + MORE_LOOKS):
            view = buffer.view()
            if view is not None:
                return view
            sleep(0.0 if look < LOOKS else 0.001)
        return buffer.rough_view()  # this interrupted the owner: what it was taking waits


def _added(these: dict[str, int], those: dict[str, int]) -> dict[str, int]:
    sums = these.copy()
    for name, number in those.items():
        sums[name] = sums.get(name, 0) + number
    return sums


def _flushes(counters: SenderCounters) -> dict[str, object]:
    flushes = {str(trigger): number for trigger, number in counters.flushes.items()}
    total = sum(flushes.values())
    return {
        "flushes": flushes,
        "trigger_ratio": {name: number / max(total, 1) for name, number in flushes.items()},
        "batch_size": counters.batch_size.distribution(),
        "send_time": counters.send_time.distribution(),
        "ignored": {str(reason): number for reason, number in counters.ignored.copy().items()},
    }


def _socket(loop: Loop, faults: dict[str, int]) -> dict[str, object]:
    transport, disk = loop.transport, loop.disk
    return {
        "send_errors": {**transport.errors, **faults, **({} if disk is None else disk.errors)},
        "resolves": transport.resolves,
        "reconnects": transport.reconnects,
    }


def _stream(session: Session) -> dict[str, object]:
    own = session.own
    return {
        "rtt": own.rtt,
        "alternations": own.alternations,
        "in_flight": own.bytes_in_flight,
        "congestion_window": own.congestion_window,
        "stream_id": own.stream_id,
        "max_datagram_size": own.max_datagram_size,
    }
