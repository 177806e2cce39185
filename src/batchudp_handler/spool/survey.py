"""A survey of the streams on disk and of their sizes, which touches none of them."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from batchudp_handler.core.send.spool_age import STAMP_SIZE, decode_stamp, first_seq, segment_birth
from batchudp_handler.spool.files import LOCK, NEW
from batchudp_handler.spool.opening import READ, opened_directory, opened_file

if TYPE_CHECKING:
    from batchudp_handler.spool.counters import SpoolCounters

__all__ = ["NO_RESOURCES", "StreamOnDisk", "survey"]

NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What says nothing about the file, only that this is a bad moment."""
_HALF_MADE_AGE = 60.0
"""Seconds for which a directory that has no final name yet is left to the process that makes it.
By the wall clock, for want of another; whoever is in the middle of it holds the lock anyway."""


class StreamOnDisk(NamedTuple):
    """A directory that is named like a stream, and that no living process has."""

    born: float
    """The witnessed time of its oldest segment, as far as its name says it."""
    name: str
    size: int
    """Bytes of its segments."""

    @property
    def stream_id(self) -> int:
        """The number of the stream."""
        return int(self.name.removeprefix(NEW), 16)


def survey(root: str, counters: SpoolCounters) -> tuple[list[StreamOnDisk], float]:
    """Return all streams that nobody owns, the oldest first, and the latest witnessed time.

    What is named like a stream and is none is counted, once. Where there is no directory, there
    is nothing.

    Raises:
        OSError: The directory cannot be used just now.
    """
    found: list[StreamOnDisk] = []
    stamps = [0.0]
    try:
        with opened_directory(root) as top:
            for name in sorted(os.listdir(top)):
                if _is_stream_id(name.removeprefix(NEW)) and not _is_being_made(name, top):
                    _look_at(name, top, found, stamps, counters)
    except FileNotFoundError:
        pass  # nothing was stored yet; when what is above is missing, too, storing will say so
    return sorted(found), max(stamps)


def _is_stream_id(text: str) -> bool:
    return len(text) == 16 and set(text) <= set("0123456789abcdef")


def _is_being_made(name: str, top: int) -> bool:
    if not name.startswith(NEW):
        return False
    try:
        status = os.stat(name, dir_fd=top, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return abs(time.time() - status.st_mtime) < _HALF_MADE_AGE


def _look_at(
    name: str,
    top: int,
    found: list[StreamOnDisk],
    stamps: list[float],
    counters: SpoolCounters,
) -> None:
    try:
        with opened_directory(name, top) as directory:
            is_owned, stamp = _look_at_lock(directory)
            stamps.append(stamp)
            if not is_owned:
                found.append(_measured(name, directory))
    except FileNotFoundError:
        pass  # another process was faster
    except OSError as error:
        if error.errno in NO_RESOURCES:
            raise
        counters.refuse(error, name)


def _look_at_lock(directory: int) -> tuple[bool, float]:
    """Return whether a process has the stream, and the witnessed time that the last one noted."""
    try:
        with opened_file(LOCK, READ, directory) as descriptor:
            stamp = decode_stamp(os.pread(descriptor, STAMP_SIZE, 0)) or 0.0
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True, stamp
            return False, stamp
    except FileNotFoundError:
        return False, 0.0


def _measured(name: str, directory: int) -> StreamOnDisk:
    size, births = 0, []
    with os.scandir(directory) as entries:
        for entry in entries:
            if first_seq(entry.name) is not None and entry.is_file(follow_symlinks=False):
                size += entry.stat(follow_symlinks=False).st_size
                births.append(segment_birth(entry.name) or 0.0)
    return StreamOnDisk(min(births, default=0.0), name, size)
