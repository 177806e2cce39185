"""The datagrams of one stream that are on disk, and their places.

A sealed datagram never changes, so the files are a plain log: frames are appended, and a segment
is deleted once the receiver's floor has passed its last datagram. There is no ledger of what was
acknowledged; after a crash up to a segment is sent again, and the receiver knows it.

Segments that somebody else deletes are noticed when they are needed. What memory still has is
stored again, the rest is lost and counted as `spool_removed`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from batchudp_handler.core.send.spool_age import segment_name
from batchudp_handler.core.wire.spool_frame import (
    Frame,
    encode_frame,
    is_intact,
    make_frame,
)
from batchudp_handler.spool.files import StreamFiles, StreamGoneError
from batchudp_handler.spool.opening import ForeignFileError
from batchudp_handler.spool.segment import Segment, read_segment
from batchudp_handler.spool.survey import NO_RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.spool.segment import Directory

__all__ = ["Spool"]


class Spool:
    """The datagrams of one stream, on disk, in ascending order of their numbers.

    Made by `SpoolDirectory.open` and `SpoolDirectory.adopt`. No method raises because of a disk.
    """

    def __init__(
        self, directory: Directory, stream_id: int, files: StreamFiles | None = None
    ) -> None:
        self.stream_id = stream_id
        self.records = 0
        """Records that wait here."""
        self.size = 0
        """Bytes of all segments."""
        self.corrupt_records = 0
        """Found damaged at adoption; to be counted by the one who adopts."""
        self.corrupt_frames = 0
        self.torn_tails = 0
        self.was_removed = False
        """Set when somebody has removed the files of this stream: what is in memory may be
        stored again. To be reset by the one who does it."""
        self._directory = directory
        self._files = files
        self._segments: deque[Segment] = deque()
        self._places: dict[int, tuple[Segment, Frame]] = {}
        self._lost: list[tuple[int, str]] = []
        if files is not None:
            self._scan(files)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, seq: object) -> bool:
        return seq in self._places

    @property
    def oldest_birth(self) -> float:
        """The witnessed time at which the oldest segment was begun."""
        return self._segments[0].born if self._segments else float("inf")

    def frames(self) -> Iterator[Frame]:
        """Return what is known of each datagram without reading it, in ascending order."""
        return (frame for _, frame in self._places.values())

    def append(self, sealed: bytes) -> bool:
        """Store a datagram behind all others; False: it could not be stored, keep it.

        Raises:
            ValueError: it is not a sealed datagram, or its number does not follow the last one.
        """
        seq = make_frame(sealed, 0).seq
        if seq <= self._last_seq():
            raise ValueError(f"datagram {seq} is stored out of order")
        data = encode_frame(sealed)
        if not self._directory.has_room(len(data)):
            return False
        try:
            self._write(seq, data)
        except StreamGoneError:
            self._forget_all()
        except OSError as error:
            self._directory.counters.fail(error)
        else:
            self._note(self._segments[-1], make_frame(sealed, self._segments[-1].size))
            return True
        self._directory.pause()
        return False

    def read(self, seq: int) -> bytes | None:
        """Return the datagram with this number.

        None: it is not here any more (see `take_lost`), or the disk fails; then the number is
        still in the spool and can be asked for again.
        """
        if seq not in self._places or self._files is None or not self._directory.may_read():
            return None
        segment, frame = self._places[seq]
        try:
            sealed = self._files.read(segment.name, frame.offset, frame.length)
        except StreamGoneError:
            self._forget_all()
        except (FileNotFoundError, ForeignFileError):
            self._lose_segment(segment, "spool_removed")
        except OSError as error:
            self._directory.counters.fail(error)
            self._directory.pause_reading()
        else:
            if is_intact(frame, sealed):
                return sealed
            self._directory.counters.corrupt_frames += 1
            self._lose(segment, frame, "spool_corrupt")
        return None

    def load(self, after: int = -1, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the datagrams with numbers above `after`, at most `limit`, in their order."""
        for seq in [seq for seq in self._places if seq > after][:limit]:
            sealed = self.read(seq)
            if sealed is not None:
                yield seq, sealed

    def release(self, floor: int) -> None:
        """Forget the datagrams below `floor`; delete the segments that hold no others."""
        while self._segments:
            segment = self._segments[0]
            while segment.frames and segment.frames[0].seq < floor:
                self._unlist(segment.frames.popleft())
            if segment.frames:
                return
            self._remove(segment)

    def take_lost(self) -> list[tuple[int, str]]:
        """Return the numbers lost since the last call, each with its cause."""
        lost, self._lost = self._lost, []
        return lost

    def drop_oldest(self, cause: str) -> None:
        """Delete the oldest segment, with what it holds."""
        self._lose_segment(self._segments[0], cause)

    def expire(self, before: float) -> None:
        """Delete the segments that were begun before this witnessed time."""
        while self._segments and self._segments[0].born < before:
            self.drop_oldest("expired")

    def close(self) -> None:
        """Let go of the stream. What it holds stays for adoption; an empty one is removed."""
        files, self._files = self._files, None
        if files is not None:
            with self._directory.counters.tolerate():
                files.finish(sync=self._directory.fsync)
            with self._directory.counters.tolerate(), contextlib.suppress(StreamGoneError):
                if self._places:
                    files.stamp(self._directory.now())
                else:
                    files.remove_if_empty()
            files.close()
        self._directory.forget(self)

    def check(self) -> None:
        """See that the stream is still ours, though somebody may have closed our descriptors."""
        if self._files is None or not self._directory.may_read():
            return
        try:
            self._files.check()
        except StreamGoneError:
            self._forget_all()
        except OSError as error:
            self._directory.counters.fail(error)
            self._directory.pause_reading()

    def sync(self) -> None:
        """Have what was stored survive a loss of power, if that is wanted."""
        if self._files is not None and self._directory.fsync:
            with self._directory.counters.tolerate(), contextlib.suppress(StreamGoneError):
                self._files.sync()

    def stamp(self) -> None:
        """Write down beside the lock how old the spool is."""
        if self._files is not None:
            with self._directory.counters.tolerate(), contextlib.suppress(StreamGoneError):
                self._files.stamp(self._directory.now())

    def abandon(self) -> None:
        """Close the descriptors and nothing else: the parent of a fork owns the files."""
        if self._files is not None:
            self._files.close()
            self._files = None

    def _last_seq(self) -> int:
        return next(reversed(self._places), -1)

    def _write(self, seq: int, data: bytes) -> None:
        if self._files is None:
            self._files = StreamFiles.create(self._directory.path, self.stream_id)
        files, now = self._files, self._directory.now()
        if files.is_writing and not self._is_open_for(len(data), now):
            files.finish(sync=self._directory.fsync)
        if not files.is_writing:
            name = segment_name(seq, now)
            files.stamp(now)
            files.begin(name)
            self._segments.append(Segment(name, now))
        segment = self._segments[-1]
        try:
            files.write(data, segment.size)
        except OSError:
            self._leave(segment)
            raise

    def _is_open_for(self, size: int, now: float) -> bool:
        """Return whether the present segment is neither full nor old, with so many bytes more."""
        segment = self._segments[-1]
        return self._directory.limits.takes(segment.size, segment.born, size, now)

    def _leave(self, segment: Segment) -> None:
        """Begin another segment next time: this one may end in half a frame."""
        if not segment.frames:
            self._remove(segment)
        elif self._files is not None:
            with contextlib.suppress(OSError):
                self._files.finish(sync=False)

    def _scan(self, files: StreamFiles) -> None:
        """Learn what is in the files; raise when there is no descriptor left to do it."""
        for name in files.segments():
            try:
                self._scan_segment(files, name)
            except OSError as error:
                if error.errno in NO_RESOURCES:
                    raise
                self._directory.counters.refuse(error, f"{self.stream_id:016x}/{name}")

    def _scan_segment(self, files: StreamFiles, name: str) -> None:
        scan, born = read_segment(files, name, self.stream_id)
        self.corrupt_frames += scan.corrupt
        self.corrupt_records += scan.corrupt_records
        # not counted in records: a frame that was not written to its end was not stored
        self.torn_tails += scan.torn
        now = self._directory.now()
        segment = Segment(name, now if born is None else min(born, now))
        self._segments.append(segment)
        for frame in scan.frames:
            if frame.seq > self._last_seq():
                self._note(segment, frame)
        self.size += scan.end - segment.size
        segment.size = scan.end
        if not segment.frames:
            self._remove(segment)

    def _note(self, segment: Segment, frame: Frame) -> None:
        segment.frames.append(frame)
        self._places[frame.seq] = (segment, frame)
        self.records += frame.records
        self.size += frame.end - segment.size
        segment.size = frame.end

    def _unlist(self, frame: Frame) -> None:
        del self._places[frame.seq]
        self.records -= frame.records

    def _lose(self, segment: Segment, frame: Frame, cause: str) -> None:
        segment.frames.remove(frame)
        self._unlist(frame)
        self._lost.append((frame.seq, cause))
        self._directory.counters.drop(cause, frame.records)

    def _lose_segment(self, segment: Segment, cause: str) -> None:
        while segment.frames:
            self._lose(segment, segment.frames[0], cause)
        self._remove(segment)

    def _forget_all(self) -> None:
        """Begin anew with the next datagram, since the files are gone."""
        files, self._files = self._files, None
        if files is not None:
            files.close()
        while self._segments:
            self._lose_segment(self._segments[0], "spool_removed")
        self.was_removed = True

    def _remove(self, segment: Segment) -> None:
        files = self._files
        if files is not None and segment is self._segments[-1]:
            with self._directory.counters.tolerate():
                files.finish(sync=False)
        self._segments.remove(segment)
        self.size -= segment.size
        if files is not None:
            with self._directory.counters.tolerate(), contextlib.suppress(StreamGoneError):
                files.remove(segment.name)
