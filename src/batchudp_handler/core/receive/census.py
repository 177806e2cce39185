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

    from batchudp_handler.core.receive.stats import StreamStats
    from batchudp_handler.core.receive.stream import Stream
    from batchudp_handler.core.receive.streams import StreamTable

__all__ = ["Census", "Progress"]

_get_summed = attrgetter(*SUMMED)


class Census:
    """One answer to `stats`.

    Args:
        table: The streams; read here and never again.
        delivered: Records that were delivered and belong to no stream.
        rejected: The same for those that could not be.
        others: The fields of `ReceiverStats` that no stream has a part in.
        now: The time.
    """

    def __init__(
        self,
        table: StreamTable,
        *,
        delivered: int,
        rejected: Mapping[str, int],
        others: Mapping[str, Any],
        now: float,
    ) -> None:
        self._left = list(table)
        self._left.reverse()
        self._forgotten = table.forgotten.copy()
        self._sums = Counter(table.forgotten_sums)
        self._sums["delivered"] += delivered
        self._rejected = table.forgotten_rejected + Counter(rejected)
        self._ended = dict(table.ended)
        self._seen = table.seen
        self._others = others
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
        """All of it; to be called when it is complete."""
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
            rejected={str(reason): count for reason, count in rejected.items()},
            streams=streams,
            streams_live=sum(stats.ended is None for stats in self._live),
            streams_seen=self._seen,
            streams_ended=self._ended,
            **self._others,
        )


class Progress:
    """Records delivered and records lost or missing, for those who ask often.

    Made in one short step; the sums are read afterwards, and no other thread need wait for them.
    """

    def __init__(self, table: StreamTable, delivered: int) -> None:
        self._streams: list[Stream] = list(table)
        self._delivered = delivered + table.forgotten_sums["delivered"]
        self._lost = table.forgotten_sums["lost"] + table.forgotten_sums["missing"]

    def sums(self) -> tuple[int, int]:
        """Delivered, and lost or missing."""
        delivered = sum(stream.delivered for stream in self._streams)
        lost = sum(stream.ledger.lost + stream.ledger.missing for stream in self._streams)
        return self._delivered + delivered, self._lost + lost
