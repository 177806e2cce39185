"""The books of one handler: what became of every record that it took.

The owner of the pump settles the books after each step: it copies the numbers of its machines into
one `Books`, which never changes, and puts that in its place at once. So whoever asks, on whatever
thread, sees the numbers of one moment. `accepted` is counted where records come in; `waiting` is
what of them is not found anywhere else, in the buffer or just on its way out of it. So the sum
holds whenever it is read.

After its close a handler may still get records, and each then travels in a stream of its own
with a machine of its own. The books keep the sums of the machines that are gone.
"""

from __future__ import annotations

import threading
from time import sleep  # not gevent's: what is waited for is another thread's step
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.send.stats import SenderStats
from batchudp_handler.flusher.books import EMPTY, Books, added, named

if TYPE_CHECKING:
    from batchudp_handler.flusher.buffer import Buffer, View
    from batchudp_handler.flusher.pump import Pump

__all__ = ["Ledger"]

LOOKS = 200
"""How often a reader looks for a moment at which no record is on its way."""
PATIENCE = 0.05
"""Seconds that a reader waits for another one; one that interrupted it need not."""


class Ledger:
    """Keeps the books of one flusher, and shows them."""

    def __init__(self, started_at: float) -> None:
        self.faults: dict[str, int] = {}
        """Errors of this package's own that ended a turn, by the exception's name."""
        self._started_at = started_at
        self._past = EMPTY
        self._seen = 0  # the largest `accepted` that anybody was shown
        self._showing = threading.Lock()

    # --- for the owner --------------------------------------------------------------------------

    def count_fault(self, error: Exception) -> None:
        """Count an error that should not have happened."""
        name = f"internal_{type(error).__name__}"
        self.faults[name] = self.faults.get(name, 0) + 1

    def settle(self, buffer: Buffer[Books], pump: Pump) -> None:
        """Note what the machines have done so far."""
        held, size = pump.held
        buffer.settle(self._books(pump), held, size)

    def write_off(self, buffer: Buffer[Books], pump: Pump) -> None:
        """Count as dropped what is left in machines that a fault keeps from ending by themselves.

        That is all that is found nowhere else, whatever the machines say.
        """
        if pump.is_written_off:
            return
        pump.is_written_off = True
        books, (_, accepted, dropped) = self._books(pump), buffer.rough_view()
        left = accepted + books.adopted - books.settled - sum(dropped.values()) - len(buffer)
        pump.count_dropped("closed", max(left, 0))
        self.settle(buffer, pump)

    def succeed(self, old: Pump, new: Pump) -> Pump:
        """Keep the sums of a pump that is given up for another; returns the other.

        Nobody sees them before the next `settle`, which has both.
        """
        numbers = added(self._past.numbers, named(old.sender.counters))
        dropped = added(self._past.dropped, old.sender.counters.dropped)
        self._past = Books(numbers, dropped)
        new.take_books_of(old)
        return new

    def _books(self, pump: Pump) -> Books:
        own, sender = pump.sender.counters, pump.sender
        numbers = added(self._past.numbers, named(own))
        dropped = added(self._past.dropped, pump.dropped, own.dropped)
        spooling = pump.spooling
        retained = 0 if pump.is_written_off else sender.retained_records
        if spooling is None:
            return Books(numbers, dropped, retained=retained)
        for each in spooling.counters:
            numbers = added(numbers, named(each))
            dropped = added(dropped, each.dropped)
        return Books(
            numbers,
            added(dropped, spooling.dropped),
            adopted=spooling.adopted_records,
            retained=0 if pump.is_written_off else retained + spooling.retained_records,
            spooled=spooling.spooled_records,
        )

    # --- for anyone -----------------------------------------------------------------------------

    def lost(self, buffer: Buffer[Books]) -> dict[str, int]:
        """Records that were accepted and will not be sent, or not be confirmed, by cause."""
        view = buffer.rough_view()
        lost = added(view.dropped, view.books.dropped)
        lost["unconfirmed"] = view.books.numbers["unconfirmed"]
        return lost

    def stats(self, buffer: Buffer[Books], pump: Pump | None, now: float) -> SenderStats:
        """Everything, as one frozen view."""
        books, accepted, dropped_before = self._view(buffer)
        dropped = added(dropped_before, books.dropped)
        accepted += books.adopted
        values: dict[str, Any] = {
            **books.numbers,
            "accepted": accepted,
            "adopted": books.adopted,
            "waiting": accepted - books.settled - sum(dropped_before.values()),
            "retained": books.retained,
            "spooled": books.spooled,
            "dropped": {cause: number for cause, number in dropped.items() if number},
            "uptime": now - self._started_at,
        }
        if pump is not None:
            values.update(_flushes(pump))
            values.update(_socket(pump, self.faults))
            values.update(_machine(pump))
            values["last_error"] = pump.trouble(now)
        return SenderStats(**values)

    def _view(self, buffer: Buffer[Books]) -> View[Books]:
        """The state of a moment, in which no record is missing that an earlier answer had."""
        is_alone = self._showing.acquire(timeout=PATIENCE)
        try:
            view = self._look(buffer)
            self._seen = accepted = max(self._seen, view.accepted)
            return view._replace(accepted=accepted)
        finally:
            if is_alone:
                self._showing.release()

    def _look(self, buffer: Buffer[Books]) -> View[Books]:
        for _ in range(LOOKS):
            view = buffer.view()
            if view is not None:
                return view
            sleep(0)
        return buffer.rough_view()  # this interrupted the owner: what it was taking waits


def _flushes(pump: Pump) -> dict[str, object]:
    flushes = {str(trigger): number for trigger, number in pump.flushes.items()}
    total = sum(flushes.values())
    return {
        "flushes": flushes,
        "trigger_ratio": {name: number / max(total, 1) for name, number in flushes.items()},
        "batch_size": pump.batch_size.distribution(),
        "send_time": pump.send_time.distribution(),
    }


def _socket(pump: Pump, faults: dict[str, int]) -> dict[str, object]:
    transport = pump.transport
    errors = {**transport.errors, **faults}
    if pump.spooling is not None:
        errors.update(pump.spooling.errors)
    return {
        "send_errors": errors,
        "resolves": transport.resolves,
        "reconnects": transport.reconnects,
    }


def _machine(pump: Pump) -> dict[str, object]:
    sender = pump.sender
    return {
        "rtt": sender.rtt,
        "alternations": sender.alternations,
        "in_flight": sender.bytes_in_flight,
        "congestion_window": sender.congestion_window,
        "stream_id": sender.stream_id,
        "max_datagram_size": sender.max_datagram_size,
    }
