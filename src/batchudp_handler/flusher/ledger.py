"""What do the counters of buffer, machine, pump and socket add up to?

After its close a handler may still get records, and each then travels in a stream of its own
with a machine of its own. The ledger keeps the sums of the machines that are gone.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from batchudp_handler.core.sender_counters import SenderCounters
from batchudp_handler.core.stats import SenderStats

if TYPE_CHECKING:
    from batchudp_handler.flusher.pump import Pump
    from batchudp_handler.flusher.thread import Flusher

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

    def lost(self, flusher: Flusher) -> dict[str, int]:
        """Records that were accepted and will not be confirmed or sent, by cause."""
        dropped = self._dropped(flusher)
        pump = flusher.pump
        unconfirmed = self._past.unconfirmed
        unconfirmed += pump.sender.counters.unconfirmed if pump is not None else 0
        return {**dropped, "unconfirmed": unconfirmed} if unconfirmed else dropped

    def _dropped(self, flusher: Flusher) -> dict[str, int]:
        dropped = flusher.buffer.dropped
        pump = flusher.pump
        sources = [self._past.dropped]
        if pump is not None:
            sources += [pump.dropped, pump.sender.counters.dropped]
        for source in sources:
            _add_counts(dropped, source.copy())
        return {cause: number for cause, number in dropped.items() if number}

    def stats(self, flusher: Flusher, now: float) -> SenderStats:
        """Everything, as one frozen view."""
        buffer, pump = flusher.buffer, flusher.pump
        counters = SenderCounters()
        _add(counters, self._past)
        if pump is None:
            return SenderStats(
                accepted=buffer.accepted,
                waiting=len(buffer),
                dropped=self._dropped(flusher),
                uptime=now - self._started_at,
            )
        _add(counters, pump.sender.counters)
        sender, transport = pump.sender, pump.transport
        flushes = sum(pump.flushes.values())
        return SenderStats(
            accepted=buffer.accepted,
            sent=counters.sent,
            confirmed=counters.confirmed,
            rejected_by_receiver=counters.rejected_by_receiver,
            unconfirmed=counters.unconfirmed,
            waiting=len(buffer) + sender.pending_records,
            retained=sender.retained_records,
            spooled=sender.spooled_records,
            dropped=self._dropped(flusher),
            datagrams_sent=counters.datagrams_sent,
            bytes_sent=counters.bytes_sent,
            bytes_raw=counters.bytes_raw,
            batches=counters.batches,
            flushes={str(trigger): number for trigger, number in pump.flushes.items()},
            trigger_ratio={
                str(trigger): number / flushes if flushes else 0.0
                for trigger, number in pump.flushes.items()
            },
            batch_size=pump.batch_size.distribution(),
            send_time=pump.send_time.distribution(),
            send_errors={**transport.errors, **self.faults},
            retries=counters.retries,
            truncated=counters.truncated,
            fragmented=counters.fragmented,
            resolves=transport.resolves,
            reconnects=transport.reconnects,
            rtt=sender.rtt,
            retransmissions=counters.retransmissions,
            in_flight=sender.bytes_in_flight,
            congestion_window=sender.congestion_window,
            resent_to_new_receiver=counters.resent_to_new_receiver,
            resealed=counters.resealed,
            uptime=now - self._started_at,
            stream_id=sender.stream_id,
            max_datagram_size=sender.max_datagram_size,
        )


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
