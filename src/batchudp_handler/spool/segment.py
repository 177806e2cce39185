"""One file of a stream in the spool, and the directory that streams share, as they see it."""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from batchudp_handler.core.send.spool_age import segment_birth
from batchudp_handler.core.wire.spool_frame import Frame, Scan, is_own_beginning, scan_segment
from batchudp_handler.spool.opening import ForeignFileError

if TYPE_CHECKING:
    from batchudp_handler.core.send.spool_limits import SpoolLimits
    from batchudp_handler.spool.counters import SpoolCounters
    from batchudp_handler.spool.files import StreamFiles

__all__ = ["Directory", "Segment", "read_segment"]


class Directory(Protocol):
    """The part of `SpoolDirectory` that a stream uses."""

    path: str
    fsync: bool
    limits: SpoolLimits
    counters: SpoolCounters

    def now(self) -> float:
        """Return the witnessed time, in seconds."""

    def may_read(self) -> bool:
        """Return whether the disk may be asked: not in the moments after it refused."""

    def pause_reading(self) -> None:
        """Ask the disk for nothing for a moment."""

    def has_room(self, size: int) -> bool:
        """Make room for `size` bytes; False: nothing can be stored just now."""

    def pause(self) -> None:
        """Leave the disk alone for a while."""

    def forget(self, spool: object) -> None:
        """Count a closed stream out."""


@dataclass(slots=True, eq=False)
class Segment:
    """A file of frames."""

    name: str
    born: float
    """The witnessed time at which it was begun."""
    size: int = 0
    frames: deque[Frame] = field(default_factory=deque)
    """Those that are still to be sent."""


def read_segment(files: StreamFiles, name: str, stream_id: int) -> tuple[Scan, float | None]:
    """Return what a segment holds, and the witnessed time at which its name says it was begun.

    Raises:
        OSError: It cannot be read, or is no segment of this stream.
    """
    data = files.read_all(name)
    scan = scan_segment(data, stream_id)
    if not scan.frames and not is_own_beginning(data, stream_id):
        raise ForeignFileError(errno.EINVAL, "not written by a spool, left alone", name)
    return scan, segment_birth(name)
