"""Which bytes make a datagram?

Every layout is built and parsed side by side here; `docs/wire-format.md` has the same tables for
other languages. A datagram is 38 bytes of header, a body, and a trailer that covers every byte
before it: a CRC32 without a key, a tag with one.

    parse(datagram)            what is it? Nothing is trusted yet, nothing is answered yet
    seal.open(datagram)        the body, once the trailer has proved right
    header.check()             fields that only a proven header is worth asking about

The order matters. A receiver looks at nothing but magic, version, type and flags before it has
verified the trailer, so that a flipped bit is always counted as what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import NamedTuple, Protocol
from zlib import crc32

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.constants import (
    BITMAP_LIMIT,
    COOKIE_SIZE,
    CRC_SIZE,
    HEADER_SIZE,
    MAGIC,
    MAX_FRAGMENTS,
    MAX_SEQ,
    NO_COOKIE,
    SYNC_SIZE,
    VERSION,
)

__all__ = [
    "CHECKSUM",
    "Ack",
    "Baseline",
    "Checksum",
    "DatagramType",
    "Header",
    "Seal",
    "Sync",
    "decode_ack",
    "decode_sync",
    "encode_ack",
    "encode_baseline",
    "encode_data",
    "encode_sync",
    "parse",
]

HEADER = Struct(">2sBBHBBQQIIHHH")
BASELINE_ZLIB = 0x01

_SYNC_BODY = Struct(">BBHQQIIQ16sI")
_ACK_BODY = Struct(">BBHQQIII")
_CRC = Struct(">I")
_JSON_SPACE = b" \t\r\n"


class DatagramType(IntEnum):
    """The kinds of datagram with a version 1 header."""

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
        """The 38 bytes on the wire."""
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
    """Closes a datagram with a trailer, and opens it again."""

    key_id: int
    overhead: int
    """Bytes that the trailer adds."""

    def seal(self, header: bytes, body: bytes) -> bytes:
        """Header, body (encrypted or not) and trailer."""

    def open(self, datagram: bytes) -> bytes:
        """The body; raises `DecodeError` unless the trailer is right."""


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
        """Compare the CRC32."""
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
    """A datagram that starts with the magic and has no complete version 1 header."""
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
    """Whether two bytes can begin a zlib stream (RFC 1950: method 8, a multiple of 31)."""
    return method & 0x0F == 8 and (method << 8 | flags) % 31 == 0


def encode_baseline(baseline: Baseline) -> bytes:
    """The three bytes and the body; codec 0 (JSON) or 1 (zlib).

    Raw JSON without the three bytes is a datagram as well and needs no encoding.
    """
    if baseline.codec not in (0, 1):
        raise ValueError("a baseline datagram is JSON (0) or zlib (1)")
    return MAGIC + bytes([baseline.codec]) + baseline.body


# --- DATA ---------------------------------------------------------------------------------------


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


# --- SYNC ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sync:
    """Where the sender stands: start, heartbeat, probe and goodbye."""

    next_seq: int
    """Everything below has been sent at least once."""
    floor: int
    """The sender holds nothing below; what is missing there will never come."""
    next_rec: int
    acknowledged: bool = False
    closing: bool = False
    """No more data at or above `next_seq`."""
    resumed: bool = False
    """The stream was taken up again from a spool."""
    max_datagram: int = 0
    dropped_records: int = 0
    """Dropped before they were numbered, all causes, modulo 2^32."""
    receiver_epoch: int = 0
    """The receiver's life that the sender last heard of; 0: none."""
    cookie: bytes = NO_COOKIE
    promise_ms: int = 0
    """The next SYNC comes within this time."""


def encode_sync(seal: Seal, sync: Sync, *, stream_id: int, counter: int, sealed_at: int) -> bytes:
    """A SYNC, padded so that the datagram has 128 bytes with any seal."""
    header = HEADER.pack(
        MAGIC, VERSION, DatagramType.SYNC, seal.key_id, 0, 0,
        stream_id, counter, 0, sealed_at, 0, 0, 1,
    )  # fmt: skip
    flags = sync.acknowledged | sync.closing << 1 | sync.resumed << 2
    body = _SYNC_BODY.pack(
        flags, 0, sync.max_datagram, sync.next_seq, sync.floor, sync.next_rec & 0xFFFF_FFFF,
        sync.dropped_records & 0xFFFF_FFFF, sync.receiver_epoch, sync.cookie, sync.promise_ms,
    )  # fmt: skip
    return seal.seal(header, body.ljust(SYNC_SIZE - HEADER_SIZE - seal.overhead, b"\0"))


def decode_sync(body: bytes, overhead: int = CRC_SIZE) -> Sync:
    """The body of an opened SYNC; `overhead` is the seal's."""
    if len(body) != SYNC_SIZE - HEADER_SIZE - overhead:
        raise DecodeError(Reason.MALFORMED, "SYNC size")
    flags, zero, max_datagram, next_seq, floor, next_rec, dropped, epoch, cookie, promise = (
        _SYNC_BODY.unpack_from(body)
    )
    if flags > 7:
        raise DecodeError(Reason.UNSUPPORTED_FLAGS, "SYNC")
    if zero or any(body[_SYNC_BODY.size :]) or floor > next_seq:
        raise DecodeError(Reason.MALFORMED, "SYNC")
    return Sync(
        next_seq=next_seq,
        floor=floor,
        next_rec=next_rec,
        acknowledged=bool(flags & 1),
        closing=bool(flags & 2),
        resumed=bool(flags & 4),
        max_datagram=max_datagram,
        dropped_records=dropped,
        receiver_epoch=epoch,
        cookie=cookie,
        promise_ms=promise,
    )


# --- ACK ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ack:
    """Where the receiver stands with one stream, or a challenge to prove the address first."""

    receiver_epoch: int
    """Random at each start of the receiver, never 0."""
    floor: int = 0
    """Every datagram below is final: handled, rejected and counted, or abandoned."""
    credit: int = 0
    """Bytes that the sender may have in flight."""
    rejected_records: int = 0
    """Cumulative for this stream and epoch, modulo 2^32."""
    delivered_records: int = 0
    """Cumulative for this stream and epoch, modulo 2^32."""
    bitmap: int = 0
    """Bit i: datagram `floor + i` is received and held, not yet final."""
    cookie: bytes | None = None
    """A CHALLENGE: nothing else counts but the epoch."""
    closing: bool = False


def encode_ack(seal: Seal, ack: Ack, *, stream_id: int, counter: int, sealed_at: int) -> bytes:
    """An ACK; without a bitmap 74 bytes with a checksum, as a CHALLENGE 90 (102 with a tag)."""
    header = HEADER.pack(
        MAGIC, VERSION, DatagramType.ACK, seal.key_id, 0, 0,
        stream_id, counter, 0, sealed_at, 0, 0, 1,
    )  # fmt: skip
    bitmap = ack.bitmap.to_bytes((ack.bitmap.bit_length() + 7) // 8, "little")
    tail = bitmap if ack.cookie is None else ack.cookie
    flags = (ack.cookie is not None) | ack.closing << 1
    body = _ACK_BODY.pack(
        flags, 0, 0 if ack.cookie is not None else len(bitmap), ack.receiver_epoch, ack.floor,
        ack.credit, ack.rejected_records & 0xFFFF_FFFF, ack.delivered_records & 0xFFFF_FFFF,
    )  # fmt: skip
    return seal.seal(header, body + tail)


def decode_ack(body: bytes) -> Ack:
    """The body of an opened ACK."""
    if len(body) < _ACK_BODY.size:
        raise DecodeError(Reason.MALFORMED, "ACK size")
    flags, zero, length, epoch, floor, credit, rejected, delivered = _ACK_BODY.unpack_from(body)
    tail = body[_ACK_BODY.size :]
    if flags > 3:
        raise DecodeError(Reason.UNSUPPORTED_FLAGS, "ACK")
    challenge = bool(flags & 1)
    if zero or length > BITMAP_LIMIT or (challenge and length) or not epoch:
        raise DecodeError(Reason.MALFORMED, "ACK")
    if len(tail) != (COOKIE_SIZE if challenge else length):
        raise DecodeError(Reason.MALFORMED, "ACK size")
    return Ack(
        receiver_epoch=epoch,
        floor=floor,
        credit=credit,
        rejected_records=rejected,
        delivered_records=delivered,
        bitmap=0 if challenge else int.from_bytes(tail, "little"),
        cookie=tail if challenge else None,
        closing=bool(flags & 2),
    )
