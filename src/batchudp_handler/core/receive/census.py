"""The counters of a receiver at one moment, collected in pieces.

A receiver follows thousands of streams and reads datagrams while somebody asks for its numbers.
So one step, whose length hardly depends on the streams, fixes which streams count and everything
that belongs to none of them; the numbers of each stream are copied afterwards, some at a time. A
stream that is forgotten in between still counts as the stream that it was, and one that is new
does not count yet: whatever happens meanwhile, the totals are those of the streams that are shown.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.receive.stats import ReceiverStats
from batchudp_handler.core.receive.streams import SUMMED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.receive.state import ReceiverState
    from batchudp_handler.core.receive.stats import StreamStats
    from batchudp_handler.core.receive.stream import Stream
    from batchudp_handler.core.receive.streams import StreamTable

__all__ = ["Census", "Progress"]

_get_summed = attrgetter(*SUMMED)


class Census:
    """The answer to one call of `stats`, while it is collected.

    Args:
        state: The receiver's; its streams are read here and never again.
        uptime: Seconds since the receiver started.
        now: The time.
    """

    def __init__(self, state: ReceiverState, *, uptime: float, now: float) -> None:
        table, counters = state.streams, state.counters
        self._left = list(table)
        self._left.reverse()
        self._forgotten = table.forgotten.copy()
        self._sums = Counter(table.forgotten_sums)
        self._sums["delivered"] += counters.delivered
        self._rejected = table.forgotten_rejected + counters.rejected
        self._others: dict[str, Any] = {
            "streams_ended": _plain(table.ended),
            "streams_seen": table.seen,
            "refused": _plain(counters.refused),
            "refused_records": _plain(+counters.refused_records),
            "datagrams_received": counters.datagrams_received,
            "bytes_received": counters.bytes_received,
            "replies": counters.replies,
            "reply_bytes": counters.reply_bytes,
            "challenges": counters.challenges,
            "auth_failed": dict(counters.auth_failed),
            "key_last_used": dict(counters.key_last_used),
            "queued_bytes": state.queue.used,
            "reassembly_bytes": state.budgets.reassembly.used,
            "uptime": uptime,
            "receive_buffer": state.settings.receive_buffer,
        }
        self._now = now
        self._live: list[StreamStats] = []

    @property
    def is_complete(self) -> bool:
        """Whether every stream has been copied."""
        return not self._left

    def copy_some(self, limit: int) -> None:
        """Copy the numbers of up to `limit` streams, none of which may change meanwhile."""
        some, self._left = self._left[-limit:], self._left[:-limit]
        self._live += [stream.stats(self._now) for stream in reversed(some)]

    def stats(self) -> ReceiverStats:
        """Return all of it; to be called when it is complete."""
        totals = [self._sums[name] for name in SUMMED]
        rejected = self._rejected
        for stats in self._live:
            totals = list(map(int.__add__, totals, _get_summed(stats)))
            if stats.rejected:
                rejected.update(stats.rejected)
        sums: dict[str, Any] = dict(zip(SUMMED, totals, strict=True))
        streams = {f"{stats.stream_id:016x}": stats for stats in self._live}
        for stream_id, stats in self._forgotten.items():
            streams.setdefault(f"{stream_id:016x}", stats)
        return ReceiverStats(
            **sums,
            rejected=_plain(rejected),
            streams=streams,
            streams_live=sum(stats.ended is None for stats in self._live),
            **self._others,
        )


def _plain(counts: Mapping[Any, int]) -> dict[str, int]:
    """Return counts under names that are plain text."""
    return {str(name): count for name, count in counts.items()}


class Progress:
    """Records delivered and records lost or missing, for those who ask often.

    Made in one short step; the sums are read afterwards, and no other thread need wait for them.
    """

    def __init__(self, table: StreamTable, delivered: int) -> None:
        self._streams: list[Stream] = list(table)
        self._delivered = delivered + table.forgotten_sums["delivered"]
        self._lost = table.forgotten_sums["lost"] + table.forgotten_sums["missing"]

    def sums(self) -> tuple[int, int]:
        """Return the records delivered, and those lost or missing."""
        delivered = sum(stream.records.counters.delivered for stream in self._streams)
        lost = sum(stream.ledger.lost + stream.ledger.missing for stream in self._streams)
        return self._delivered + delivered, self._lost + lost
