"""The layout of a datagram of protocol version 1, and of the baseline forms before it.

`docs/protocol/datagrams.md` has the same tables for other languages. A datagram is 38 bytes of
header, a body, and a trailer that covers every byte before it: a CRC32 without a key, a tag with
one.

    parse(datagram)            says what it is; nothing is trusted yet, nothing is answered yet
    seal.open(datagram)        gives the body, once the trailer has proved right
    header.check()             compares fields, which is worth doing in a proven header only

The body of a SYNC is in `sync`, that of an ACK in `ack`; the payload of DATA is another room's.

The order matters. A receiver looks at nothing but magic, version, type and flags before it has
verified the trailer, so that a flipped bit is always counted as what it is.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple, Protocol
from zlib import crc32

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.constants import (
    CRC_SIZE,
    HEADER_SIZE,
    MAGIC,
    MAX_FRAGMENTS,
    MAX_SEQ,
    VERSION,
)

__all__ = [
    "CHECKSUM",
    "Baseline",
    "Checksum",
    "DatagramType",
    "Header",
    "Seal",
    "control_header",
    "encode_baseline",
    "encode_data",
    "parse",
]

HEADER = Struct(">2sBBHBBQQIIHHH")
BASELINE_ZLIB = 0x01

_CRC = Struct(">I")
_JSON_SPACE = b" \t\r\n"


class DatagramType(IntEnum):
    """The kind of a datagram with a version 1 header."""

    DATA = 1
    """One-way: never answered."""
    DATA_ACKNOWLEDGED = 2
    SYNC = 3
    ACK = 4


_LAST_DATA_TYPE = 2
"""Comparing with a member of an enumeration takes three times as long."""


class Baseline(NamedTuple):
    """A datagram without a version 1 header: JSON, plain or behind three bytes."""

    codec: int
    body: bytes


class Header(NamedTuple):
    """The fields of a version 1 header, in their order on the wire."""

    type: int
    key_id: int
    codec: int
    stream_id: int
    seq: int
    """DATA: the datagram's number. SYNC and ACK: a counter of their own."""
    rec: int
    """Ordinal of the first record, modulo 2^32."""
    sealed_at: int
    """Unix time in seconds."""
    n_rec: int
    frag_index: int
    frag_count: int

    def pack(self) -> bytes:
        """Return the 38 bytes on the wire."""
        kind, key_id, codec, *rest = self
        return HEADER.pack(MAGIC, VERSION, kind, key_id, codec, 0, *rest)

    def check(self) -> None:
        """Raise `DecodeError` when the fields contradict each other."""
        if self.type > _LAST_DATA_TYPE:
            if self[2] or self[5] or self[7] or self[8] or self[9] != 1:
                raise DecodeError(Reason.MALFORMED, "a DATA field is set")
        elif not (self.n_rec and self.frag_index < self.frag_count <= MAX_FRAGMENTS):
            raise DecodeError(Reason.MALFORMED, "no records, or an impossible fragment")
        elif self.frag_index > self.seq:
            raise DecodeError(Reason.MALFORMED, "a fragment before the stream's first datagram")
        elif self.seq - self.frag_index + self.frag_count > MAX_SEQ:
            raise DecodeError(Reason.MALFORMED, "the number that follows has no room in an ACK")


class Seal(Protocol):
    """What closes a datagram with a trailer, and opens it again."""

    key_id: int
    overhead: int
    """Bytes that the trailer adds."""

    def seal(self, header: bytes, body: bytes) -> bytes:
        """Return header, body (encrypted or not) and trailer."""

    def open(self, datagram: bytes) -> bytes:
        """Return the body; raise `DecodeError` unless the trailer is right."""


class Checksum:
    """The seal without a key. It finds damage, not deceit.

    UDP's own checksum has 16 bits and does not cover what a relay writes anew; a flipped bit in
    `seq` or `rec` would corrupt the accounting rather than one record.
    """

    __slots__ = ()
    key_id = 0
    overhead = CRC_SIZE

    def seal(self, header: bytes, body: bytes) -> bytes:
        """Append the CRC32 of everything."""
        datagram = header + body
        return datagram + _CRC.pack(crc32(datagram))

    def open(self, datagram: bytes) -> bytes:
        """Return the body if the CRC32 is right."""
        if len(datagram) < HEADER_SIZE + CRC_SIZE:
            raise DecodeError(Reason.MALFORMED, "shorter than header and trailer")
        if crc32(datagram[:-CRC_SIZE]) != int.from_bytes(datagram[-CRC_SIZE:], "big"):
            raise DecodeError(Reason.BAD_CRC)
        return datagram[HEADER_SIZE:-CRC_SIZE]


CHECKSUM = Checksum()


def parse(datagram: bytes) -> Baseline | Header:
    """Say what a datagram is, by its first bytes alone.

    Returns:
        `Baseline`, or the `Header` of a version 1 datagram whose trailer is not yet verified.

    Raises:
        DecodeError: it is nothing that this version knows.
    """
    if datagram[:2] == MAGIC:
        if len(datagram) > HEADER_SIZE and datagram[2] == VERSION:
            return _parse_header(datagram)
        return _parse_magic(datagram)
    if len(datagram) >= 2 and datagram.lstrip(_JSON_SPACE)[:1] in (b"{", b"["):
        return Baseline(0, datagram)
    raise DecodeError(Reason.MALFORMED)


def _parse_header(datagram: bytes) -> Header:
    _, _, kind, key_id, codec, flags, *rest = HEADER.unpack_from(datagram)
    if not 1 <= kind <= 4:
        raise DecodeError(Reason.UNSUPPORTED_TYPE)
    if flags:
        raise DecodeError(Reason.UNSUPPORTED_FLAGS)
    return Header(kind, key_id, codec, *rest)


def _parse_magic(datagram: bytes) -> Baseline:
    """Parse a datagram that starts with the magic and has no complete version 1 header."""
    if len(datagram) < 3:
        raise DecodeError(Reason.MALFORMED)
    flags = datagram[2]
    if flags == VERSION:
        raise DecodeError(Reason.MALFORMED, "shorter than header and trailer")
    if flags >= 0x80:
        raise DecodeError(Reason.UNSUPPORTED_VERSION)
    if flags & ~BASELINE_ZLIB:
        raise DecodeError(Reason.UNSUPPORTED_FLAGS)
    if flags & BASELINE_ZLIB and (len(datagram) < 5 or not _is_zlib(datagram[3], datagram[4])):
        # so that a version 1 header with its top bit flipped is not taken for a baseline form
        raise DecodeError(Reason.MALFORMED, "no zlib stream")
    return Baseline(flags & BASELINE_ZLIB, datagram[3:])


def _is_zlib(method: int, flags: int) -> bool:
    """Return whether two bytes can begin a zlib stream (RFC 1950: method 8, times 31)."""
    return method & 0x0F == 8 and (method << 8 | flags) % 31 == 0


def encode_baseline(baseline: Baseline) -> bytes:
    """Return the three bytes and the body; the codec is 0 (JSON) or 1 (zlib).

    Raw JSON without the three bytes is a datagram as well and needs no encoding.
    """
    if baseline.codec not in (0, 1):
        raise ValueError("a baseline datagram is JSON (0) or zlib (1)")
    return MAGIC + bytes([baseline.codec]) + baseline.body


def encode_data(
    seal: Seal,
    body: bytes,
    *,
    acknowledged: bool,
    codec: int,
    stream_id: int,
    seq: int,
    rec: int,
    sealed_at: int,
    n_rec: int,
    frag_index: int = 0,
    frag_count: int = 1,
) -> bytes:
    """Seal one batch, or one fragment of it. Its decoder is `parse` and `seal.open`."""
    kind = DatagramType.DATA_ACKNOWLEDGED if acknowledged else DatagramType.DATA
    header = HEADER.pack(
        MAGIC, VERSION, kind, seal.key_id, codec, 0,
        stream_id, seq, rec & 0xFFFF_FFFF, sealed_at, n_rec, frag_index, frag_count,
    )  # fmt: skip
    return seal.seal(header, body)


def control_header(
    kind: DatagramType, seal: Seal, *, stream_id: int, counter: int, sealed_at: int
) -> bytes:
    """Return the header of a SYNC or an ACK, in which all fields of DATA are zero."""
    return Header(kind, seal.key_id, 0, stream_id, counter, 0, sealed_at, 0, 0, 1).pack()
