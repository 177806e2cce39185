"""The body of a SYNC: where a sender stands with its stream.

It starts a stream, is its heartbeat, asks for an ACK, and says goodbye.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.constants import (
    CRC_SIZE,
    HEADER_SIZE,
    NO_COOKIE,
    SYNC_SIZE,
)
from batchudp_handler.core.wire.datagram import DatagramType, control_header

if TYPE_CHECKING:
    from batchudp_handler.core.wire.datagram import Seal

__all__ = ["Sync", "decode_sync", "encode_sync"]

_BODY = Struct(">BBHQQIIQ16sI")


@dataclass(frozen=True, slots=True)
class Sync:
    """What a sender says of its stream."""

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
    """Seal a SYNC, padded so that the datagram has 128 bytes with any seal."""
    header = control_header(
        DatagramType.SYNC, seal, stream_id=stream_id, counter=counter, sealed_at=sealed_at
    )
    flags = sync.acknowledged | sync.closing << 1 | sync.resumed << 2
    body = _BODY.pack(
        flags, 0, sync.max_datagram, sync.next_seq, sync.floor, sync.next_rec & 0xFFFF_FFFF,
        sync.dropped_records & 0xFFFF_FFFF, sync.receiver_epoch, sync.cookie, sync.promise_ms,
    )  # fmt: skip
    return seal.seal(header, body.ljust(SYNC_SIZE - HEADER_SIZE - seal.overhead, b"\0"))


def decode_sync(body: bytes, overhead: int = CRC_SIZE) -> Sync:
    """Read the body of an opened SYNC; `overhead` is the seal's."""
    if len(body) != SYNC_SIZE - HEADER_SIZE - overhead:
        raise DecodeError(Reason.MALFORMED, "SYNC size")
    flags, zero, max_datagram, next_seq, floor, next_rec, dropped, epoch, cookie, promise = (
        _BODY.unpack_from(body)
    )
    if flags > 7:
        raise DecodeError(Reason.UNSUPPORTED_FLAGS, "SYNC")
    if zero or any(body[_BODY.size :]) or floor > next_seq:
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
