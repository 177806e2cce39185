"""The datagrams of GELF, the Graylog Extended Log Format: what they are, and their chunks.

A message is a JSON object, plain or compressed with zlib or gzip. One that is too long for a
datagram comes in at most 128 chunks, each with 12 bytes before its part: magic, an id of 8 bytes,
index and count.
"""

from __future__ import annotations

from typing import NamedTuple

from batchudp_handler.core.errors import DecodeError, Reason

__all__ = ["Chunk", "is_chunk", "is_gelf", "parse_chunk"]

CHUNK_MAGIC = b"\x1e\x0f"
CHUNK_HEADER = 12
MAX_CHUNKS = 128

_GZIP = b"\x1f\x8b"
_MEMBER = b'"short_message"'


class Chunk(NamedTuple):
    """One part of a message."""

    message_id: bytes
    number: int
    total: int
    body: bytes


def is_gelf(datagram: bytes) -> bool:
    """Return whether a datagram is a GELF message or a part of one."""
    start = datagram[:2]
    if start in (CHUNK_MAGIC, _GZIP):
        return True
    if datagram.lstrip()[:1] == b"{":
        return _MEMBER in datagram
    # zlib (RFC 1950): method 8, and the two bytes are a multiple of 31
    return len(start) == 2 and start[0] & 0x0F == 8 and int.from_bytes(start) % 31 == 0


def is_chunk(datagram: bytes) -> bool:
    """Return whether it is a part of a message."""
    return datagram[:2] == CHUNK_MAGIC


def parse_chunk(datagram: bytes) -> Chunk:
    """Read a chunk.

    Raises:
        DecodeError: Its numbers are impossible, or it is empty.
    """
    if len(datagram) <= CHUNK_HEADER:
        raise DecodeError(Reason.MALFORMED, "an empty chunk")
    index, count = datagram[10], datagram[11]
    if not index < count <= MAX_CHUNKS:
        raise DecodeError(Reason.MALFORMED, "an impossible chunk")
    return Chunk(datagram[2:10], index, count, datagram[CHUNK_HEADER:])
