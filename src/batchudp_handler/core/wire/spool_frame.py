"""Frames of a spool segment: encoding, checking, and finding them in a damaged file.

A segment is a file of frames, one after the other: the length of a sealed datagram (u32), the
CRC32 of it (u32), the datagram. There is no index and no file header, so a segment is right up to
the point where its writer was killed.

Reading trusts nothing. A frame that fails its check is skipped; the next one is found by walking
over its length, or, if the length is damaged too, by the magic bytes that start every datagram.
So damage costs the frames that it touched and no other. What is left over at the end, shorter
than its length says, is the torn tail of a writer that died.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from batchudp_handler.core.wire.constants import HEADER_SIZE, MAGIC, MAX_DATAGRAM_SIZE, VERSION
from batchudp_handler.core.wire.datagram import HEADER

__all__ = [
    "FRAME_OVERHEAD",
    "Frame",
    "Scan",
    "encode_frame",
    "header_fields",
    "is_intact",
    "is_own_beginning",
    "make_frame",
    "scan_segment",
]

_FRAME = Struct(">II")
FRAME_OVERHEAD = _FRAME.size
_OPENING = MAGIC + bytes((VERSION,))


class Frame(NamedTuple):
    """The place of a sealed datagram in its segment."""

    seq: int
    records: int
    """Records that are settled with it: of a group of fragments, only the last has any."""
    offset: int
    """Of the datagram itself, behind length and checksum."""
    length: int
    checksum: int

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + self.length


@dataclass(slots=True)
class Scan:
    """The contents of a segment."""

    frames: list[Frame] = field(default_factory=list)
    corrupt: int = 0
    """Damaged frames that were skipped."""
    corrupt_records: int = 0
    """Records in them, as far as their headers can be read; else one each."""
    end: int = 0
    """Where the torn tail begins; the size of the segment when there is none."""
    torn: bool = False


def encode_frame(sealed: bytes) -> bytes:
    """Return the bytes of one frame."""
    return _FRAME.pack(len(sealed), crc32(sealed)) + sealed


def make_frame(sealed: bytes, offset: int) -> Frame:
    """Describe the frame of a sealed datagram that begins at `offset` of its segment."""
    fields = header_fields(sealed)
    if fields is None:
        raise ValueError("not a sealed datagram")
    _, seq, records = fields
    return Frame(seq, records, offset + FRAME_OVERHEAD, len(sealed), crc32(sealed))


def is_intact(frame: Frame, sealed: bytes) -> bool:
    """Return whether these bytes, read back, are the datagram that was stored."""
    return len(sealed) == frame.length and crc32(sealed) == frame.checksum


def is_own_beginning(data: bytes, stream_id: int) -> bool:
    """Return whether a dying writer of this stream may have left a file without intact frames.

    That is the beginning of a frame, a damaged frame, or nothing: no bytes, or zeros where the
    machine went down before the bytes were on the disk.
    """
    sealed = data[FRAME_OVERHEAD:]
    if not data.strip(b"\0"):
        return True
    if len(sealed) >= HEADER_SIZE:
        fields = header_fields(sealed)
        return fields is not None and fields[0] == stream_id
    # a length below 2**16, any checksum, and as much of a header as there is
    return data[:2] == bytes(2)[: len(data)] and sealed[: len(_OPENING)] == _OPENING[: len(sealed)]


def header_fields(sealed: bytes) -> tuple[int, int, int] | None:
    """Return stream id, sequence number and records; None: this is no sealed datagram.

    The records of a group of fragments are settled with the last of them, so the others have none.
    """
    if len(sealed) < HEADER_SIZE or not sealed.startswith(_OPENING):
        return None
    *_, stream_id, seq, _, _, n_rec, index, count = HEADER.unpack_from(sealed)
    return stream_id, seq, n_rec if index == count - 1 else 0


def scan_segment(data: bytes, stream_id: int) -> Scan:
    """Find every intact frame of `stream_id` in a segment, in ascending order of numbers."""
    scan = Scan()
    position, last_seq = 0, -1
    while position < len(data):
        frame = _frame_at(data, position, stream_id)
        if frame is not None and frame.seq > last_seq:
            scan.frames.append(frame)
            position, last_seq = frame.end, frame.seq
        else:
            position = _skip(data, position, stream_id, scan)
            if scan.torn:
                break
    scan.end = position
    return scan


def _frame_at(data: bytes, position: int, stream_id: int) -> Frame | None:
    """Return the intact frame that begins here, if one does."""
    end = _stated_end(data, position)
    if end is None or end > len(data):
        return None
    offset = position + FRAME_OVERHEAD
    sealed = data[offset:end]
    fields = header_fields(sealed)
    checksum = _FRAME.unpack_from(data, position)[1]
    if fields is None or fields[0] != stream_id or crc32(sealed) != checksum:
        return None
    return Frame(fields[1], fields[2], offset, len(sealed), checksum)


def _stated_end(data: bytes, position: int) -> int | None:
    """Return the end that the frame here states; None: it states nothing credible."""
    if len(data) - position < FRAME_OVERHEAD:
        return None
    length = _FRAME.unpack_from(data, position)[0]
    if not HEADER_SIZE <= length <= MAX_DATAGRAM_SIZE:
        return None
    return int(position + FRAME_OVERHEAD + length)


def _skip(data: bytes, position: int, stream_id: int, scan: Scan) -> int:
    """Count the damaged frame here; return where to go on, or where the torn tail begins."""
    end = _stated_end(data, position)
    if end is not None and not _may_begin_at(data, end):
        end = None
    # also before the stated end: a damaged length may happen to lead to a later frame
    intact = _next_intact(data, position + 1, stream_id)
    if intact is not None and (end is None or intact < end):
        end = intact
    if end is None:
        scan.torn = True
        return position
    scan.corrupt += 1
    scan.corrupt_records += _stated_records(data, position)
    return end


def _stated_records(data: bytes, position: int) -> int:
    """Return how many records the damaged frame here states, at least one."""
    offset = position + FRAME_OVERHEAD
    fields = header_fields(data[offset : offset + HEADER_SIZE])
    return 1 if fields is None else max(1, fields[2])


def _may_begin_at(data: bytes, position: int) -> bool:
    """Return whether a frame, or the end of the segment, is here."""
    return position == len(data) or data.startswith(_OPENING, position + FRAME_OVERHEAD)


def _next_intact(data: bytes, position: int, stream_id: int) -> int | None:
    """Return where the next intact frame begins, looking wherever the magic bytes are."""
    found = data.find(_OPENING, position + FRAME_OVERHEAD)
    while found >= 0:
        if _frame_at(data, found - FRAME_OVERHEAD, stream_id) is not None:
            return found - FRAME_OVERHEAD
        found = data.find(_OPENING, found + 1)
    return None
