"""The body of an ACK: where a receiver stands with a stream, or the challenge of a new sender."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.constants import BITMAP_LIMIT, COOKIE_SIZE
from batchudp_handler.core.wire.datagram import DatagramType, control_header

if TYPE_CHECKING:
    from batchudp_handler.core.wire.datagram import Seal

__all__ = ["Ack", "decode_ack", "encode_ack"]

_BODY = Struct(">BBHQQIII")


@dataclass(frozen=True, slots=True)
class Ack:
    """What a receiver says of one stream, or a challenge to prove the address first."""

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
    """Seal an ACK.

    Without a bitmap it has 74 bytes with a checksum, as a CHALLENGE 90 (102 with a tag).
    """
    header = control_header(
        DatagramType.ACK, seal, stream_id=stream_id, counter=counter, sealed_at=sealed_at
    )
    bitmap = ack.bitmap.to_bytes((ack.bitmap.bit_length() + 7) // 8, "little")
    tail = bitmap if ack.cookie is None else ack.cookie
    flags = (ack.cookie is not None) | ack.closing << 1
    body = _BODY.pack(
        flags, 0, 0 if ack.cookie is not None else len(bitmap), ack.receiver_epoch, ack.floor,
        ack.credit, ack.rejected_records & 0xFFFF_FFFF, ack.delivered_records & 0xFFFF_FFFF,
    )  # fmt: skip
    return seal.seal(header, body + tail)


def decode_ack(body: bytes) -> Ack:
    """Read the body of an opened ACK."""
    if len(body) < _BODY.size:
        raise DecodeError(Reason.MALFORMED, "ACK size")
    flags, zero, length, epoch, floor, credit, rejected, delivered = _BODY.unpack_from(body)
    tail = body[_BODY.size :]
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
