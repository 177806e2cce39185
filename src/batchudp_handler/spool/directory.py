"""The streams that this process keeps on disk, and the room that they share.

A stream whose process is gone is an orphan: nobody holds its lock. `adopt` takes orphans over, a
few at a time, to be sent as the streams that they are. Starting never fails because of what the
files say: damaged frames and torn tails are skipped and counted, and what is no file of a spool
is left alone.

A full, failing or read-only disk is counted, what could not be stored stays with the caller, and
`RETRY_INTERVAL` later it is tried again. By default nothing is synced: the files survive the death
of the process, not that of the machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING

from batchudp_handler.core.send.spool_age import WitnessedTime
from batchudp_handler.core.send.spool_limits import SpoolLimits
from batchudp_handler.spool.counters import SpoolCounters
from batchudp_handler.spool.files import StreamFiles
from batchudp_handler.spool.stream import Spool
from batchudp_handler.spool.survey import NO_RESOURCES, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.spool.survey import StreamOnDisk

__all__ = ["SpoolDirectory"]

RETRY_INTERVAL = 5.0
"""Seconds for which nothing is stored after the disk failed."""
READ_PAUSE = 0.25
"""Seconds for which nothing is read after the disk failed."""
STAMP_INTERVAL = 60.0
"""Seconds between two notes of how old the spool is."""


class SpoolDirectory:
    """All streams that this process keeps in one directory, and the room that they share.

    One thread at a time may use it and its spools. Nothing touches the disk before something is
    stored or adopted.

    Args:
        path: made with mode 0700 when it is missing, but nothing above it; must belong to the
            user.
        limits: how much the streams of this process may keep, and for how long.
        fsync: sync each segment when it is complete, and when `Spool.sync` is called, so that it
            survives a loss of power.
        clock: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limits: SpoolLimits | None = None,
        fsync: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = os.fspath(path)
        self.limits = SpoolLimits() if limits is None else limits
        self.fsync = fsync
        self.counters = SpoolCounters()
        self.left_out: dict[str, int] = {}
        """Records that were found on disk and are in no stream that was adopted, by cause."""
        self._clock = clock
        self._witnessed = WitnessedTime(clock())
        self._spools: list[Spool] = []
        self._orphans: deque[StreamOnDisk] = deque()
        """Seen and not yet tried, the oldest first."""
        self._retry_at = self._read_at = self._adopt_at = float("-inf")
        self._stamp_at = clock() + STAMP_INTERVAL

    @property
    def records(self) -> int:
        """Records that wait in all streams of this process."""
        return sum(spool.records for spool in self._spools)

    @property
    def size(self) -> int:
        """Bytes in the segments of all streams of this process."""
        return sum(spool.size for spool in self._spools)

    @property
    def next_adoption(self) -> float | None:
        """When `adopt` has more to do, by the clock; None: it has tried all that it has seen."""
        return self._adopt_at if self._orphans else None

    def open(self, stream_id: int) -> Spool:
        """Return the spool of a new stream; its files are made when something is stored."""
        spool = Spool(self, stream_id)
        self._spools.append(spool)
        return spool

    def adopt(self, limit: int = 64) -> list[Spool]:
        """Take over streams whose process is gone, at most `limit`, the oldest first.

        Streams with nothing left to send are tidied away, and what is more than the limit in all
        is dropped. Call it again for more: when all that was seen has been tried, it looks
        anew.
        """
        if not self._orphans:
            with self.counters.tolerate():
                self._look()
        adopted: list[Spool] = []
        while self._orphans and (len(adopted) < limit or self._excess() > 0):
            orphan = self._orphans.popleft()
            try:
                spool = self._take_over(orphan)
            except OSError as error:
                self.counters.fail(error)
                # not the fault of this stream: it is tried again when there are descriptors
                self._orphans.appendleft(orphan)
                self._adopt_at = self._clock() + RETRY_INTERVAL
                break
            if spool is not None and len(adopted) < limit:
                adopted.append(spool)
            elif spool is not None:
                self._put_back(spool, orphan)
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
        """Return the witnessed time, in seconds."""
        return self._witnessed.at(self._clock())

    def has_room(self, size: int) -> bool:
        """Make room for `size` bytes: drop what is too old, then what is oldest.

        False: the disk failed a moment ago, or the whole room is too small.
        """
        if self._clock() < self._retry_at or self.limits.excess(size) > 0:
            return False
        self.tend()
        while self.size + self.limits.excess(size) > 0:
            eldest = min((s for s in self._spools if s.size), key=lambda s: s.oldest_birth)
            eldest.drop_oldest("spool_full")
        return True

    def tend(self) -> None:
        """Drop what is too old, and now and then write down how old the spool is."""
        expired = self.limits.expired_before(self.now())
        for spool in self._spools:
            spool.expire(expired)
        if self._clock() >= self._stamp_at:
            self._stamp_at = self._clock() + STAMP_INTERVAL
            for spool in self._spools:
                spool.stamp()

    def pause(self) -> None:
        """Store nothing for a while: the disk failed."""
        self._retry_at = self._clock() + RETRY_INTERVAL

    def try_again(self) -> None:
        """Do not wait any longer after a failure: there will be no other opportunity."""
        self._retry_at = self._read_at = float("-inf")

    def may_read(self) -> bool:
        """Return whether the disk may be asked: not in the moments after it refused."""
        if self._clock() >= self._read_at:
            self._read_at = float("-inf")
        return self.paused_until is None

    @property
    def paused_until(self) -> float | None:
        """Until when nothing is read; None: nothing keeps it from being read."""
        return None if self._read_at == float("-inf") else self._read_at

    def pause_reading(self) -> None:
        """Ask the disk for nothing for a moment."""
        self._read_at = self._clock() + READ_PAUSE

    def forget(self, spool: object) -> None:
        """Count a closed stream out."""
        self._spools = [each for each in self._spools if each is not spool]

    def _look(self) -> None:
        orphans, stamp = survey(self.path, self.counters)
        self._witnessed.learn(stamp)
        own = {spool.stream_id for spool in self._spools}
        self._orphans.extend(each for each in orphans if each.stream_id not in own)

    def _excess(self) -> int:
        """Return how many bytes on disk are too many, with those of streams nobody has yet."""
        return self.limits.excess(self.size + sum(each.size for each in self._orphans))

    def _take_over(self, orphan: StreamOnDisk) -> Spool | None:
        """Return the spool of an orphan with something to send; raise at a bad moment."""
        files = None
        try:
            # another process may be faster and tidy the directory away under our hands
            with contextlib.suppress(FileNotFoundError):
                files = StreamFiles.adopt(self.path, orphan.name)
        except OSError as error:
            if error.errno in NO_RESOURCES:
                raise
            self.counters.refuse(error, orphan.name)
        if files is None:
            return None
        try:
            spool = Spool(self, orphan.stream_id, files)
        except OSError as error:
            files.close()
            if error.errno in NO_RESOURCES:
                raise
            self.counters.refuse(error, orphan.name)
            return None
        return self._adopted(spool)

    def _adopted(self, spool: Spool) -> Spool | None:
        """Count what was found, and drop what is too old or too much."""
        counters, found = self.counters, spool.records
        before = counters.dropped.copy()
        self._spools.append(spool)
        spool.expire(self.limits.expired_before(self.now()))
        while spool.size and self._excess() > 0:
            spool.drop_oldest("spool_full")
        counters.drop("spool_corrupt", spool.corrupt_records)
        counters.corrupt_frames += spool.corrupt_frames
        counters.torn_tails += spool.torn_tails
        counters.adopted_streams += 1
        counters.adopted_records += found + spool.corrupt_records
        for cause, records in counters.dropped.items():
            self.left_out[cause] = self.left_out.get(cause, 0) + records - before.get(cause, 0)
        spool.take_lost()  # counted just now, and nobody has a machine for it yet
        if len(spool):
            return spool
        spool.close()
        return None

    def _put_back(self, spool: Spool, orphan: StreamOnDisk) -> None:
        """Leave to a later moment what was only looked at to make room."""
        self.counters.adopted_streams -= 1
        self.counters.adopted_records -= spool.records
        self._orphans.appendleft(orphan._replace(size=spool.size))
        spool.close()
