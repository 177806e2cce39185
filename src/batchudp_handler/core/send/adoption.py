"""The streams that dead processes left in the spool: when to look for them, and how many to take.

Each goes on under its own numbers, so that a receiver that knows them takes nothing twice, and
says goodbye when all of it is confirmed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.delivery import Delivery
    from batchudp_handler.core.wire.datagram import Header

__all__ = ["Adoption"]

LOOK_INTERVAL = 60.0
"""Seconds between two looks for streams whose process is gone."""


class Adoption:
    """Takes up streams of dead processes, a few at a time.

    Args:
        make_stream: Makes the machine for the stream with this number.
        counters: Those of the handler.
    """

    def __init__(self, make_stream: Callable[[int], Delivery], counters: SenderCounters) -> None:
        self.streams: list[Delivery] = []
        """Those that still have something to do."""
        self.most = 1
        """Streams that there may be at a time."""
        self._make_stream = make_stream
        self._counters = counters
        self._look_at = float("-inf")
        self._found_at: float | None = None
        self._is_over = False

    def wanted(self, now: float) -> int:
        """Return how many streams should be taken up now; who asks does it if there are any."""
        room = self.most - len(self.streams)
        if room <= 0 or self._is_over or now < self._next_at:
            return 0
        if now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL
        return room

    @property
    def _next_at(self) -> float:
        return self._look_at if self._found_at is None else min(self._look_at, self._found_at)

    def on_looked(self, found_at: float | None) -> None:
        """Note when streams that were found can be taken up; None: no others were found."""
        self._found_at = found_at

    def resume(
        self,
        stream_id: int,
        stored: Iterable[tuple[Header, int]],
        records: int,
        now: float,
        wall: float,
    ) -> Delivery:
        """Take up one stream.

        Args:
            stream_id: Its number.
            stored: Header and size of each of its datagrams that can be read.
            records: How many records it was found to have; those that are missing are counted.
            now: The time.
            wall: The same moment as Unix time, for the headers.
        """
        stream = self._make_stream(stream_id)
        before = self._counters.total_dropped
        stream.resume(stored, now, wall)
        known = stream.spooled_records + self._counters.total_dropped - before
        self._counters.drop("spool_corrupt", max(records - known, 0))
        stream.close()
        self.streams.append(stream)
        return stream

    def release(self, stream: Delivery) -> None:
        """Forget a stream that is closed."""
        self.streams.remove(stream)

    def end(self) -> None:
        """Take up no more streams: this process is about to end."""
        self._is_over = True

    @property
    def is_done(self) -> bool:
        """Whether nothing that was left by other processes waits any more, as far as is known."""
        return not self.streams and self._found_at is None

    def next_timeout(self) -> float | None:
        """Return when more streams may be wanted; None: not before one of these is closed."""
        if self._is_over or len(self.streams) >= self.most:
            return None
        return self._next_at
