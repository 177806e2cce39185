"""Reading the bytes of a spool segment, whole and damaged."""

from __future__ import annotations

import pytest

from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data
from batchudp_handler.core.wire.spool_frame import (
    FRAME_OVERHEAD,
    encode_frame,
    is_intact,
    is_own_beginning,
    make_frame,
    scan_segment,
)

STREAM = 0x0123456789ABCDEF


def seal(seq: int, *, n_rec: int = 1, size: int = 40, stream: int = STREAM, **more: int) -> bytes:
    """A sealed datagram; its body depends on its number."""
    body = bytes((seq * 7 + i * 13) % 256 for i in range(size))
    return encode_data(
        CHECKSUM, body, acknowledged=True, codec=1, stream_id=stream, seq=seq, rec=seq,
        sealed_at=1_700_000_000, n_rec=n_rec, **more,
    )  # fmt: skip


SEALED = [seal(n, n_rec=n + 1, size=20 + 31 * n) for n in range(12)]
SEGMENT = b"".join(encode_frame(each) for each in SEALED)


def frame_bounds() -> list[tuple[int, int]]:
    """Where each frame of SEGMENT begins and ends."""
    bounds, position = [], 0
    for each in SEALED:
        bounds.append((position, position + FRAME_OVERHEAD + len(each)))
        position = bounds[-1][1]
    return bounds


def sealed_in(data: bytes) -> list[bytes]:
    return [data[f.offset : f.end] for f in scan_segment(data, STREAM).frames]


def test_whole_segment() -> None:
    """Every frame is found, with its number, its records and its place."""
    scan = scan_segment(SEGMENT, STREAM)
    assert [SEGMENT[f.offset : f.end] for f in scan.frames] == SEALED
    assert [(f.seq, f.records) for f in scan.frames] == [(n, n + 1) for n in range(12)]
    assert (scan.corrupt, scan.corrupt_records, scan.torn) == (0, 0, False)
    assert scan.end == len(SEGMENT)


def test_empty_segment() -> None:
    """A writer that was killed before its first frame leaves nothing."""
    scan = scan_segment(b"", STREAM)
    assert (scan.frames, scan.torn, scan.end) == ([], False, 0)


def test_cut_at_every_byte() -> None:
    """A cut leaves exactly the frames before it, and says where the torn tail begins."""
    bounds = frame_bounds()
    for cut in range(len(SEGMENT)):
        whole = sum(end <= cut for _, end in bounds)
        scan = scan_segment(SEGMENT[:cut], STREAM)
        assert len(scan.frames) == whole, cut
        assert scan.end == (bounds[whole - 1][1] if whole else 0), cut
        assert scan.torn == (scan.end < cut), cut
        assert scan.corrupt == 0, cut


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_byte_flipped(mask: int) -> None:
    """A changed byte costs the frame that it is in and no other, wherever it is."""
    bounds = frame_bounds()
    for at in range(len(SEGMENT)):
        data = bytearray(SEGMENT)
        data[at] ^= mask
        touched = next(n for n, (start, end) in enumerate(bounds) if start <= at < end)
        scan = scan_segment(bytes(data), STREAM)
        left = [f.seq for f in scan.frames]
        assert left == [n for n in range(12) if n != touched], at
        # the last frame with a damaged length cannot be told from a torn one
        assert scan.corrupt + scan.torn == 1, at
        assert not scan.torn or touched == 11, at


def test_records_of_damaged_frames() -> None:
    """They are counted by what their header says; by one where it cannot be read."""
    bounds = frame_bounds()
    data = bytearray(SEGMENT)
    data[bounds[4][1] - 1] ^= 1  # in the trailer: the header says five records
    data[bounds[8][0] + FRAME_OVERHEAD] ^= 1  # in the magic
    scan = scan_segment(bytes(data), STREAM)
    assert (scan.corrupt, scan.corrupt_records) == (2, 5 + 1)


def test_neighbours_damaged() -> None:
    """Two frames next to each other are two damaged frames."""
    bounds = frame_bounds()
    data = bytearray(SEGMENT)
    data[bounds[5][1] - 1] ^= 1
    data[bounds[6][1] - 1] ^= 1
    scan = scan_segment(bytes(data), STREAM)
    assert scan.corrupt == 2
    assert [f.seq for f in scan.frames] == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]


def test_zeros_inside() -> None:
    """A hole of zeros, as a crash of the machine leaves them, costs what it covers."""
    bounds = frame_bounds()
    data = bytearray(SEGMENT)
    start, end = bounds[3][0] + 5, bounds[5][0] + 9
    data[start:end] = bytes(end - start)
    left = [f.seq for f in scan_segment(bytes(data), STREAM).frames]
    assert left == [0, 1, 2, 6, 7, 8, 9, 10, 11]


def test_datagrams_of_other_streams_are_refused() -> None:
    """A segment that was copied from elsewhere is damage, not data."""
    data = encode_frame(seal(0)) + encode_frame(seal(1, stream=5)) + encode_frame(seal(2))
    scan = scan_segment(data, STREAM)
    assert [f.seq for f in scan.frames] == [0, 2]
    assert scan.corrupt == 1


def test_numbers_must_rise() -> None:
    """A frame twice, or out of order, is damage."""
    data = encode_frame(SEALED[1]) + encode_frame(SEALED[1]) + encode_frame(SEALED[0])
    data += encode_frame(SEALED[2])
    assert sealed_in(data) == [SEALED[1], SEALED[2]]


def test_a_group_counts_its_records_once() -> None:
    """The records of fragments are those of the last one."""
    data = b"".join(encode_frame(seal(n, n_rec=1, frag_index=n, frag_count=3)) for n in range(3))
    assert [f.records for f in scan_segment(data, STREAM).frames] == [0, 0, 1]


def test_is_intact() -> None:
    """What is read back is compared with what was stored."""
    frame = make_frame(SEALED[3], 100)
    assert (frame.seq, frame.offset, frame.length) == (3, 108, len(SEALED[3]))
    assert is_intact(frame, SEALED[3])
    assert not is_intact(frame, SEALED[3][:-1])
    assert not is_intact(frame, SEALED[3][:-1] + b"\0")


@pytest.mark.parametrize("data", [b"", b"{}", bytes(100), b"\xcb\xf2\x01" + bytes(60)])
def test_only_sealed_datagrams_have_frames(data: bytes) -> None:
    """What has no number cannot be released, so it is not stored."""
    with pytest.raises(ValueError, match="not a sealed datagram"):
        make_frame(data, 0)


FRAME = encode_frame(SEALED[3])


@pytest.mark.parametrize("length", [*range(len(FRAME))])
def test_what_a_dying_writer_leaves_is_known_as_its_own(length: int) -> None:
    """The beginning of a frame, a damaged frame, nothing, or zeros."""
    assert is_own_beginning(FRAME[:length], STREAM)
    assert is_own_beginning(bytes(length), STREAM)
    assert is_own_beginning(FRAME[:-1] + b"x", STREAM)


@pytest.mark.parametrize(
    "data",
    [
        encode_frame(seal(0, stream=7)),
        b"notes of somebody else",
        b"\x01",
        b"\0\0\x01\0 sum" + b"text",
        bytes(FRAME_OVERHEAD) + b"x" * 100,
    ],
)
def test_what_it_cannot_have_written_is_not_its_own(data: bytes) -> None:
    """Another stream's frame and other files are left alone."""
    assert not is_own_beginning(data, STREAM)
