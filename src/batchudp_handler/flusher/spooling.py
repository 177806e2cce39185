"""Sealed datagrams on their way to disk and back, and what dead processes left there.

The machine of a stream says what is to be stored and what is wanted back; its spool does it. The
streams that other processes left behind are taken up here, a few at a time, each with a machine of
its own, and travel over the same socket as the process's own stream. They go on under their own
numbers, so that a receiver that knows them takes nothing twice.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.wire.datagram import Header, parse
from batchudp_handler.flusher.note import write_note
from batchudp_handler.spool import SpoolDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.core.send.sender import SenderProtocol
    from batchudp_handler.spool import Spool

__all__ = ["Spooling", "StoredStream"]

ADOPT_INTERVAL = 60.0
"""Seconds between two looks for streams whose process is gone."""
MOST_ADOPTED = 16
"""Streams of other processes that are sent at a time; each takes about a tenth of a second."""
SHARE = 8
"""The limit of descriptors has room for so many times the streams at a time; each takes two."""
MOST_NOTES = 8
"""Kinds of errors that are said on stderr, once each."""


@dataclass(slots=True, eq=False)
class StoredStream:
    """A machine and the files that belong to it."""

    sender: SenderProtocol
    spool: Spool

    def turn(self, now: float) -> bool:
        """Move what is to be moved; say whether there is more to send than before."""
        self.spool.check()
        self._tell_lost()
        self._store(now)
        self.spool.release(self.sender.floor)
        has_loaded = self._load()
        self._tell_lost()
        return has_loaded

    def _tell_lost(self) -> None:
        for seq, cause in self.spool.take_lost():
            self.sender.on_spool_dropped(seq, seq, cause)
        if self.spool.was_removed:
            self.spool.was_removed = False
            self.sender.store_again()

    def _store(self, now: float) -> None:
        while offered := self.sender.datagrams_to_store(now):
            for each in offered:
                if not self.spool.append(each.data):
                    self.sender.on_store_failed(now)
                    return
                self.sender.on_stored([each.seq])
                self._tell_lost()  # room was made: what went must not be asked for
            self.spool.sync()

    def _load(self) -> bool:
        has_loaded = False
        for seq in self.sender.datagrams_to_load():
            data = self.spool.read(seq)
            if data is None and seq in self.spool:
                break  # the disk failed; it is asked again
            self.sender.on_loaded(seq, data)
            has_loaded = True
        return has_loaded


class Spooling:
    """The disk of one handler: its own stream, and those that it adopted.

    Args:
        directory: Where the files are.
        sender: The machine of the own stream.
        make_sender: Makes the machine for a stream with this number.
        max_bytes: Room on disk, for all streams of this process.
        max_age: Seconds for which a datagram is kept.
        fsync: Whether each batch is to survive a loss of power.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        directory: str,
        sender: SenderProtocol,
        make_sender: Callable[[int], SenderProtocol],
        *,
        max_bytes: int,
        max_age: float,
        fsync: bool,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._home = SpoolDirectory(directory, max_bytes=max_bytes, max_age=max_age, fsync=fsync)
        self._own = StoredStream(sender, self._home.open(sender.stream_id))
        self._make_sender = make_sender
        self._wall = wall
        self._adopted: list[StoredStream] = []
        self._adopt_at = float("-inf")
        self._is_leaving = False
        self._is_closed = False
        self._complaints: set[str] = set()
        self.dropped = self._home.left_out
        """Records of adopted streams that could not be read or were too old, by cause."""
        self._ended = SenderCounters()
        """What became of the adopted streams that have ended."""

    @property
    def adopted(self) -> list[SenderProtocol]:
        """The machines of streams that other processes left, while they have something to do."""
        return [] if self._is_closed else [each.sender for each in self._adopted]

    @property
    def is_open(self) -> bool:
        """Whether the files are used."""
        return not self._is_closed

    @property
    def is_done(self) -> bool:
        """Whether nothing that was left by other processes waits any more, as far as is known."""
        return not self._adopted and self._home.next_adoption is None

    @property
    def deadline(self) -> float | None:
        """When a turn has something to do that nobody else knows of."""
        if self._is_closed:
            return None
        times = [self._home.paused_until]
        if len(self._adopted) < _most_adopted() and not self._is_leaving:
            times += [self._adopt_at, self._home.next_adoption]
        return min((time for time in times if time is not None), default=None)

    def turn(self, now: float) -> bool:
        """Adopt, store, load and release; say whether there is more to send than before."""
        has_adopted = self._adopt(now)
        has_more = [each.turn(now) for each in self._streams()]
        self._let_go()
        self._complain()
        return has_adopted or any(has_more)

    def _complain(self) -> None:
        """Say once for each kind of error that the disk refuses; the counters say how often."""
        error = self._home.counters.last_error
        kind = error.partition(":")[0]
        if kind and kind not in self._complaints and len(self._complaints) < MOST_NOTES:
            self._complaints.add(kind)
            text = error.partition(": ")[2]
            is_foreign = kind == "foreign_file"
            trouble = "has a file that is not its own" if is_foreign else "cannot be used just now"
            write_note(f"the spool {self._home.path} {trouble}: {text}")

    def begin_leaving(self) -> None:
        """Have everything stored that is not confirmed: the next process will send it."""
        self._is_leaving = True
        self._home.try_again()
        for each in self._streams():
            each.sender.store_everything()

    def close(self) -> None:
        """Let go of the files; those that hold something stay."""
        if not self._is_closed:
            self._is_closed = True
            for each in self._streams():
                each.spool.release(each.sender.floor)
            self._home.close()

    def abandon(self) -> None:
        """Touch no file: they belong to the parent of this fork."""
        self._is_closed = True
        self._home.abandon()

    # --- the numbers -----------------------------------------------------------------------------

    @property
    def adopted_records(self) -> int:
        """Records found on disk, those that could not be read included."""
        return self._home.counters.adopted_records

    @property
    def spooled_records(self) -> int:
        """Records on disk that are not settled, of all streams."""
        return sum(each.sender.spooled_records for each in self._streams())

    @property
    def retained_records(self) -> int:
        """Records of adopted streams that are in memory only: sealed again for a smaller path."""
        return sum(each.sender.retained_records for each in self._adopted)

    @property
    def counters(self) -> list[SenderCounters]:
        """What became of the records of adopted streams."""
        return [self._ended, *(each.sender.counters for each in self._adopted)]

    @property
    def errors(self) -> dict[str, int]:
        """What the disk refused, by the name of the error."""
        errors = self._home.counters.disk_errors.copy()
        return {f"spool_{name}": number for name, number in errors.items()}

    # --- adoption --------------------------------------------------------------------------------

    def _streams(self) -> Iterator[StoredStream]:
        yield self._own
        yield from self._adopted

    def _adopt(self, now: float) -> bool:
        """Take over a few of the streams whose process is gone; say whether there were any."""
        room = _most_adopted() - len(self._adopted)
        next_adoption = self._home.next_adoption
        at = self._adopt_at if next_adoption is None else min(self._adopt_at, next_adoption)
        if room <= 0 or self._is_leaving or now < at:
            return False
        if now >= self._adopt_at:
            self._adopt_at = now + ADOPT_INTERVAL
            self._home.tend()
        spools = self._home.adopt(room)
        for spool in spools:
            self._resume(spool, now)
        return bool(spools)

    def _resume(self, spool: Spool, now: float) -> None:
        records, sender = spool.records, self._make_sender(spool.stream_id)
        sender.resume(_headers(spool), now, self._wall())
        spool.take_lost()  # what could not be read now is unknown to the machine
        known = sender.spooled_records + sum(sender.counters.dropped.values())
        self._drop("spool_corrupt", records - known)
        sender.close()  # it says goodbye when all is confirmed
        self._adopted.append(StoredStream(sender, spool))

    def _drop(self, cause: str, records: int) -> None:
        if records > 0:
            self.dropped[cause] = self.dropped.get(cause, 0) + records

    def _let_go(self) -> None:
        for each in [each for each in self._adopted if each.sender.is_closed]:
            self._adopted.remove(each)
            self._ended.add(each.sender.counters)
            each.spool.release(each.sender.floor)
            each.spool.close()


def _headers(spool: Spool) -> Iterator[tuple[Header, int]]:
    for _, data in spool.load():
        header = parse(data)
        assert isinstance(header, Header), "the spool holds what was sealed"
        yield header, len(data)


def _most_adopted() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_ADOPTED if limit < 0 else max(1, min(MOST_ADOPTED, limit // SHARE))
