"""A datagram of GELF is told from others by its first bytes, and a chunk is read or refused."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.datagram import Baseline, encode_baseline
from batchudp_handler.core.wire.gelf import (
    CHUNK_MAGIC,
    MAX_CHUNKS,
    Chunk,
    is_chunk,
    is_gelf,
    parse_chunk,
)

MESSAGE = json.dumps({"version": "1.1", "host": "web-1", "short_message": "hi"}).encode()
IDENTITY = b"12345678"


def chunk(number: int, total: int, body: bytes = b"part") -> bytes:
    return CHUNK_MAGIC + IDENTITY + bytes([number, total]) + body


@pytest.mark.parametrize(
    "datagram",
    [
        MESSAGE,
        b" \r\n" + MESSAGE,
        gzip.compress(MESSAGE, mtime=0),
        *[zlib.compress(MESSAGE, level) for level in (1, 6, 9)],
        chunk(0, 2),
    ],
    ids=["plain", "indented", "gzip", "zlib 1", "zlib 6", "zlib 9", "chunk"],
)
def test_every_form_of_a_message_is_known(datagram: bytes) -> None:
    """Plain, compressed in either way, or a part of a longer one."""
    assert is_gelf(datagram)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"x",
        b"hello",
        b'{"message":"hi"}',
        b'["short_message"]',
        b"x\x9d",
        encode_baseline(Baseline(1, zlib.compress(MESSAGE))),
        b"\xcb\xf2\x81\x01",
    ],
    ids=["empty", "one byte", "text", "our JSON", "an array", "not of 31", "baseline", "ours"],
)
def test_other_datagrams_are_not_taken_for_gelf(datagram: bytes) -> None:
    """Our own, above all: both may come to one port."""
    assert not is_gelf(datagram)


def test_a_chunk_is_told_from_a_message() -> None:
    """By its magic alone."""
    assert is_chunk(chunk(0, 2))
    assert not is_chunk(MESSAGE)
    assert not is_chunk(gzip.compress(MESSAGE, mtime=0))


@pytest.mark.parametrize(("number", "total"), [(0, 1), (1, 3), (MAX_CHUNKS - 1, MAX_CHUNKS)])
def test_a_chunk_is_read(number: int, total: int) -> None:
    """Id, place, count and the part, which begins behind the twelve bytes."""
    assert parse_chunk(chunk(number, total)) == Chunk(IDENTITY, number, total, b"part")


@pytest.mark.parametrize("numbers", [(0, 0), (5, 5), (6, 5), (0, 129), (255, 255), (128, 128)])
def test_a_chunk_with_impossible_numbers_is_refused(numbers: tuple[int, int]) -> None:
    """A place outside of the message, no chunks, or too many: it could never be whole."""
    with pytest.raises(DecodeError) as caught:
        parse_chunk(chunk(*numbers))
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("length", range(2, 13))
def test_a_chunk_without_a_part_is_refused(length: int) -> None:
    """Header only, or cut short in it."""
    with pytest.raises(DecodeError) as caught:
        parse_chunk(chunk(0, 2)[:length])
    assert caught.value.reason is Reason.MALFORMED
