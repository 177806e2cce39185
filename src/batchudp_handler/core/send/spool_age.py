"""The age of what is on disk: the seconds that senders have spent with it.

The times of files are no help. They come from the wall clock, and that of a device without a
battery says 1970 until somebody tells it the time, others are years ahead, and both may be so when
a file is written or when it is found. So age is counted in witnessed time: the steady clocks of
the processes that had the spool open, added up. Each writes what it has counted beside the lock of
each stream that it holds, and starts from the largest that it finds. A segment carries in its name
when it was begun. A clock that jumps changes nothing, and time during which no sender runs does
not count.
"""

from __future__ import annotations

from zlib import crc32

__all__ = [
    "STAMP_SIZE",
    "WitnessedTime",
    "decode_stamp",
    "encode_stamp",
    "first_seq",
    "segment_birth",
    "segment_name",
]

SUFFIX = ".seg"
_SECONDS = 16
"""Hexadecimal digits."""
STAMP_SIZE = _SECONDS + 10


class WitnessedTime:
    """The seconds that senders have spent with a spool, as far as this one knows.

    Args:
        now: Seconds of a clock that never jumps.
    """

    __slots__ = ("_last", "_seconds")

    def __init__(self, now: float) -> None:
        self._last = now
        self._seconds = 0.0

    def at(self, now: float) -> float:
        """Return the witnessed time, up to now."""
        self._seconds += max(now - self._last, 0.0)
        self._last = now
        return self._seconds

    def learn(self, seconds: float) -> None:
        """Go on from what another process has counted, if that is more."""
        self._seconds = max(self._seconds, seconds)


def encode_stamp(seconds: float) -> bytes:
    """Return witnessed time as it is written into the file of the lock."""
    text = b"%0*x" % (_SECONDS, int(seconds))
    return b"%s %08x\n" % (text, crc32(text))


def decode_stamp(data: bytes) -> float | None:
    """Return the witnessed time in a lock's file; None if there is none, or it is damaged."""
    text = data[:_SECONDS]
    try:
        seconds = int(text, 16)
    except ValueError:
        return None
    return float(seconds) if data == encode_stamp(seconds) else None


def segment_name(seq: int, born: float) -> str:
    """Return the file name of a segment that begins with this datagram at this witnessed time.

    >>> segment_name(17, 3600.5)
    '00000000000000000017-e10.seg'
    """
    return f"{seq:020d}-{int(born):x}{SUFFIX}"


def first_seq(name: str) -> int | None:
    """Return the number that a segment's name begins with; None if it is another name."""
    digits = name.removesuffix(SUFFIX).partition("-")[0]
    is_ours = name.endswith(SUFFIX) and len(digits) == 20 and digits.isascii() and digits.isdigit()
    return int(digits) if is_ours else None


def segment_birth(name: str) -> float | None:
    """Return when a segment was begun, in witnessed time; None for one of an older version.

    >>> segment_birth("00000000000000000017-e10.seg"), segment_birth("00000000000000000017.seg")
    (3600.0, None)
    """
    digits = name.removesuffix(SUFFIX).partition("-")[2]
    try:
        return float(int(digits, 16)) if 0 < len(digits) <= _SECONDS else None
    except ValueError:
        return None
