"""What do the counters of buffer, machine, pump and socket add up to?

After its close a handler may still get records, and each then travels in a stream of its own
with a machine of its own. The ledger keeps the sums of the machines that are gone.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.sender_counters import SenderCounters
from batchudp_handler.core.sender_stats import SenderStats

if TYPE_CHECKING:
    from batchudp_handler.core.buffer import Buffer
    from batchudp_handler.flusher.pump import Pump

__all__ = ["Ledger"]


class Ledger:
    """The books of one flusher."""

    def __init__(self, started_at: float) -> None:
        self.faults: dict[str, int] = {}
        """Errors of this package's own that ended a turn, by the exception's name."""
        self._started_at = started_at
        self._past = SenderCounters()

    def count_fault(self, error: Exception) -> None:
        """Count an error that should not have happened."""
        name = f"internal_{type(error).__name__}"
        self.faults[name] = self.faults.get(name, 0) + 1

    def succeed(self, old: Pump, new: Pump) -> Pump:
        """Keep the sums of a pump that is given up for another; returns the other."""
        _add(self._past, old.sender.counters)
        new.take_books_of(old)
        return new

    def lost(self, buffer: Buffer, pump: Pump | None) -> dict[str, int]:
        """Records that were accepted and will not be sent, or not be confirmed, by cause."""
        lost = self._dropped(buffer, pump)
        lost["unconfirmed"] = self._counters(pump).unconfirmed
        return lost

    def stats(self, buffer: Buffer, pump: Pump | None, now: float) -> SenderStats:
        """Everything, as one frozen view."""
        values: dict[str, Any] = {
            "accepted": buffer.accepted,
            "waiting": len(buffer),
            "dropped": self._dropped(buffer, pump),
            "uptime": now - self._started_at,
        }
        counters = self._counters(pump)
        values.update({name: getattr(counters, name) for name in SAME_NAMES})
        if pump is not None:
            values.update(_flushes(pump))
            values.update(_socket(pump, self.faults))
            values.update(_machine(pump))
            values["waiting"] += pump.sender.pending_records
            values["last_error"] = pump.trouble(now)
            if pump.spooling is not None:
                values["adopted"] = pump.spooling.adopted_records
                values["accepted"] += pump.spooling.adopted_records
                values["retained"] += pump.spooling.retained_records
                values["spooled"] = pump.spooling.spooled_records
                values["send_errors"].update(pump.spooling.errors)
        return SenderStats(**values)

    def _dropped(self, buffer: Buffer, pump: Pump | None) -> dict[str, int]:
        dropped = buffer.dropped
        sources = [self._past.dropped]
        if pump is not None:
            sources += [pump.dropped, pump.sender.counters.dropped]
        if pump is not None and pump.spooling is not None:
            sources.append(pump.spooling.dropped)
            sources += [each.dropped for each in pump.spooling.counters]
        for source in sources:
            _add_counts(dropped, source.copy())
        return {cause: number for cause, number in dropped.items() if number}

    def _counters(self, pump: Pump | None) -> SenderCounters:
        total = SenderCounters()
        _add(total, self._past)
        if pump is not None:
            _add(total, pump.sender.counters)
            for each in pump.spooling.counters if pump.spooling is not None else ():
                _add(total, each)
        return total


SAME_NAMES = {each.name for each in fields(SenderCounters)} & {
    each.name for each in fields(SenderStats)
} - {"dropped"}
"""What the machine counts and the stats show under one name."""


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
    return {
        "send_errors": {**transport.errors, **faults},
        "resolves": transport.resolves,
        "reconnects": transport.reconnects,
    }


def _machine(pump: Pump) -> dict[str, object]:
    sender = pump.sender
    return {
        "retained": sender.retained_records,
        "spooled": sender.spooled_records,
        "rtt": sender.rtt,
        "in_flight": sender.bytes_in_flight,
        "congestion_window": sender.congestion_window,
        "stream_id": sender.stream_id,
        "max_datagram_size": sender.max_datagram_size,
    }


def _add(total: SenderCounters, more: SenderCounters) -> None:
    for item in fields(SenderCounters):
        mine, theirs = getattr(total, item.name), getattr(more, item.name)
        if isinstance(mine, dict):
            _add_counts(mine, theirs.copy())
        else:
            setattr(total, item.name, mine + theirs)


def _add_counts(total: dict[str, int], more: dict[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number
