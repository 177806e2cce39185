"""Which streams does this process keep on disk, and how much room do they share?

A stream whose process is gone is an orphan: nobody holds its lock. `adopt` takes orphans over, to
be sent as the streams that they are. Starting never fails because of what the files say: damaged
frames are skipped and torn tails cut off, both counted.

A full, failing or read-only disk is counted, what could not be stored stays with the caller, and
`RETRY_INTERVAL` later it is tried again. By default nothing is synced: the files survive the death
of the process, not that of the machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from batchudp_handler.spool.counters import SpoolCounters
from batchudp_handler.spool.files import StreamFiles, make_private_directory, stream_directories
from batchudp_handler.spool.stream import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SpoolDirectory"]

SEGMENT_SIZE = 1 << 20
RETRY_INTERVAL = 5.0
"""Seconds for which nothing is stored after the disk failed."""
MAX_BYTES = 64 << 20
MAX_AGE = 7 * 86_400.0
"""A week, as the keys that sealed the datagrams should outlive them."""


class SpoolDirectory:
    """All streams that this process keeps in one directory, and the room that they share.

    One thread at a time may use it and its spools. Nothing touches the disk before something is
    stored or adopted.

    Args:
        path: made with mode 0700 when it is missing; must belong to the user.
        max_bytes: of all streams of this process together; beyond it the oldest segment goes.
        max_age: seconds after its last change that a segment is kept.
        fsync: sync each segment when it is complete, so that it survives a loss of power.
        clock: the time as files have it, in seconds since the epoch.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
        fsync: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.fspath(path)
        self.max_bytes = max_bytes
        self.max_age = max_age
        self.fsync = fsync
        self.counters = SpoolCounters()
        # several segments in the smallest spool, so that dropping the oldest leaves the rest
        self.segment_size = min(SEGMENT_SIZE, max_bytes // 4)
        self._clock = clock
        self._spools: list[Spool] = []
        self._retry_at = float("-inf")

    @property
    def records(self) -> int:
        """Records that wait in all streams of this process."""
        return sum(spool.records for spool in self._spools)

    @property
    def size(self) -> int:
        """Bytes in the segments of all streams of this process."""
        return sum(spool.size for spool in self._spools)

    def open(self, stream_id: int) -> Spool:
        """The spool of a stream of this process; its files are made when something is stored."""
        spool = Spool(self, stream_id)
        self._spools.append(spool)
        return spool

    def adopt(self, limit: int = 64) -> list[Spool]:
        """Take over streams whose process is gone, at most `limit`, each with what it holds.

        Streams with nothing left to send are tidied away. Call it again for more.
        """
        orphans: list[tuple[int, str]] = []
        with self.counters.tolerate():
            make_private_directory(self.path)
            orphans = stream_directories(self.path)
        adopted: list[Spool] = []
        for stream_id, name in orphans:
            if len(adopted) == limit:
                break
            spool = self._take_over(stream_id, name)
            if spool is not None:
                adopted.append(spool)
        return adopted

    def close(self) -> None:
        """Close all streams; what they hold stays for the next process."""
        for spool in list(self._spools):
            spool.close()

    def abandon(self) -> None:
        """Let go of everything without touching a file: for the child of a fork."""
        for spool in self._spools:
            spool.abandon()
        self._spools.clear()

    def now(self) -> float:
        """The time as files have it."""
        return self._clock()

    def has_room(self, size: int) -> bool:
        """Make room for `size` bytes: drop what is too old, then what is oldest.

        False: the disk failed a moment ago, or the whole room is too small.
        """
        now = self._clock()
        # a clock that was set back must not keep the spool shut
        if self._retry_at - RETRY_INTERVAL <= now < self._retry_at or size > self.max_bytes:
            return False
        for spool in self._spools:
            spool.expire(now - self.max_age)
        while self.size + size > self.max_bytes:
            eldest = min((s for s in self._spools if s.size), key=lambda s: s.oldest_change)
            eldest.drop_oldest("spool_full")
        return True

    def pause(self) -> None:
        """Store nothing for a while: the disk failed."""
        self._retry_at = self._clock() + RETRY_INTERVAL

    def forget(self, spool: Spool) -> None:
        """Count a closed stream out."""
        if spool in self._spools:
            self._spools.remove(spool)

    def _take_over(self, stream_id: int, name: str) -> Spool | None:
        files = None
        # another process may be faster and tidy the directory away under our hands
        with self.counters.tolerate(), contextlib.suppress(FileNotFoundError):
            files = StreamFiles.adopt(self.path, name, self._clock())
        if files is None:
            return None
        spool = Spool(self, stream_id, files)
        self._spools.append(spool)
        self.counters.adopted_streams += 1
        self.counters.adopted_records += spool.records + spool.corrupt_records
        self.has_room(0)
        if spool.size:
            return spool
        spool.close()
        return None
