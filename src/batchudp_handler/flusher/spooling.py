"""Sealed datagrams on their way to disk and back, and what dead processes left there.

A stream says what is to be stored and what is wanted back; its spool does it. The streams that
other processes left behind are taken up as the session wants them.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.core.send.spool_limits import SpoolLimits
from batchudp_handler.core.wire.datagram import Header, parse
from batchudp_handler.flusher.note import write_note
from batchudp_handler.spool import SpoolDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.core.send.adoption import Adoption
    from batchudp_handler.core.send.delivery import Delivery
    from batchudp_handler.core.send.session import Session
    from batchudp_handler.spool import Spool

__all__ = ["Spooling", "StoredStream"]

MOST_ADOPTED = 16
"""Streams of other processes that are sent at a time; each takes about a tenth of a second."""
SHARE = 8
"""The limit of descriptors has room for so many times the streams at a time; each takes two."""
MOST_NOTES = 8
"""Kinds of errors that are said on stderr, once each."""


@dataclass(slots=True, eq=False)
class StoredStream:
    """A stream and the files that belong to it."""

    stream: Delivery
    spool: Spool

    def turn(self, now: float) -> bool:
        """Move what is to be moved; return whether there is more to send than before."""
        self.spool.check()
        self._tell_lost()
        self._store(now)
        self.spool.release(self.stream.floor)
        has_loaded = self._load()
        self._tell_lost()
        return has_loaded

    def _tell_lost(self) -> None:
        for seq, cause in self.spool.take_lost():
            self.stream.on_spool_dropped(seq, seq, cause)
        if self.spool.was_removed:
            self.spool.was_removed = False
            self.stream.store_again()

    def _store(self, now: float) -> None:
        while offered := self.stream.datagrams_to_store(now):
            for each in offered:
                if not self.spool.append(each.data):
                    self.stream.on_store_failed(now)
                    return
                self.stream.on_stored([each.seq])
                self._tell_lost()  # room was made: what went must not be asked for
            self.spool.sync()

    def _load(self) -> bool:
        has_loaded = False
        for seq in self.stream.datagrams_to_load():
            data = self.spool.read(seq)
            if data is None and seq in self.spool:
                break  # the disk failed; it is asked again
            self.stream.on_loaded(seq, data)
            has_loaded = True
        return has_loaded


class Spooling:
    """The disk of one handler: its own stream, and those that it adopted.

    Args:
        directory: The streams that this process keeps on disk.
        session: Decides what is stored, and which streams are adopted.
        adoption: Its part that does so.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        directory: SpoolDirectory,
        session: Session,
        adoption: Adoption,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._session = session
        self._adoption = adoption
        self._wall = wall
        own = session.own
        self._streams = [StoredStream(own, directory.open(own.stream_id))]
        self.is_open = True
        """Whether the files are used."""
        self._complaints: set[str] = set()

    @classmethod
    def open(
        cls,
        path: str,
        session: Session,
        adoption: Adoption,
        *,
        max_bytes: int,
        max_age: float,
        fsync: bool,
    ) -> Spooling:
        """Use the directory of this path, within these limits (see `SpoolLimits`)."""
        limits = SpoolLimits(max_bytes, max_age)
        return cls(SpoolDirectory(path, limits=limits, fsync=fsync), session, adoption)

    @property
    def paused_until(self) -> float | None:
        """When the disk, which failed, is tried again; None: it works."""
        return self._directory.paused_until if self.is_open else None

    @property
    def errors(self) -> dict[str, int]:
        """What the disk refused, by the name of the error."""
        errors = self._directory.counters.disk_errors.copy()
        return {f"spool_{name}": number for name, number in errors.items()}

    def turn(self, now: float) -> bool:
        """Adopt, store, load and release; return whether there is more to send than before."""
        has_adopted = self._adopt(now)
        has_more = [each.turn(now) for each in self._streams]
        self._release_closed()
        self._complain()
        return has_adopted or any(has_more)

    def _adopt(self, now: float) -> bool:
        """Take up the streams that are wanted; return whether there were any."""
        adoption, directory = self._adoption, self._directory
        adoption.most = _most_adopted()
        wanted = adoption.wanted(now)
        if not wanted:
            return False
        directory.tend()
        spools = directory.adopt(wanted)
        adoption.on_looked(directory.next_adoption)
        self._count_adopted()
        for spool in spools:
            records = spool.records
            stream = adoption.resume(spool.stream_id, _headers(spool), records, now, self._wall())
            spool.take_lost()  # what could not be read now is unknown to the stream
            self._streams.append(StoredStream(stream, spool))
        return bool(spools)

    def _count_adopted(self) -> None:
        counters, directory = self._session.counters, self._directory
        counters.adopted = directory.counters.adopted_records
        while directory.left_out:
            counters.drop(*directory.left_out.popitem())

    def _release_closed(self) -> None:
        for each in self._streams[1:]:
            if each.stream.is_closed:
                self._adoption.release(each.stream)
                each.spool.release(each.stream.floor)
                each.spool.close()
                self._streams.remove(each)

    def _complain(self) -> None:
        """Say once for each kind of error that the disk refuses; the counters say how often."""
        error = self._directory.counters.last_error
        kind = error.partition(":")[0]
        if kind and kind not in self._complaints and len(self._complaints) < MOST_NOTES:
            self._complaints.add(kind)
            text = error.partition(": ")[2]
            is_foreign = kind == "foreign_file"
            trouble = "has a file that is not its own" if is_foreign else "cannot be used just now"
            write_note(f"the spool {self._directory.path} {trouble}: {text}")

    def try_again(self) -> None:
        """Do not wait any longer for a disk that failed: there will be no other opportunity."""
        self._directory.try_again()

    def close(self) -> None:
        """Let go of the files; those that hold something stay."""
        if self.is_open:
            self.is_open = False
            for each in self._streams:
                each.spool.release(each.stream.floor)
            self._directory.close()

    def abandon(self) -> None:
        """Touch no file: they belong to the parent of this fork."""
        self.is_open = False
        self._directory.abandon()


def _headers(spool: Spool) -> Iterator[tuple[Header, int]]:
    for _, data in spool.load():
        header = parse(data)
        assert isinstance(header, Header), "the spool holds what was sealed"
        yield header, len(data)


def _most_adopted() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_ADOPTED if limit < 0 else max(1, min(MOST_ADOPTED, limit // SHARE))
