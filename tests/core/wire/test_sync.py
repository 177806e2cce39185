"""A SYNC says the same at the other end, and an impossible one is refused."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import CHECKSUM, Seal
from batchudp_handler.core.wire.sync import Sync, decode_sync, encode_sync

KEY = HmacKey(7, bytes(range(32)))
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
U16 = st.integers(0, 2**16 - 1)
SYNC_BODY = CHECKSUM.open(
    encode_sync(
        CHECKSUM, Sync(next_seq=9, floor=8, next_rec=1), stream_id=1, counter=0, sealed_at=0
    )
)


def patched(body: bytes, offset: int, value: int) -> bytes:
    return body[:offset] + bytes([value]) + body[offset + 1 :]


@st.composite
def syncs(draw: st.DrawFn) -> Sync:
    floor, next_seq = sorted((draw(U64), draw(U64)))
    return Sync(
        next_seq=next_seq,
        floor=floor,
        next_rec=draw(U32),
        acknowledged=draw(st.booleans()),
        closing=draw(st.booleans()),
        resumed=draw(st.booleans()),
        max_datagram=draw(U16),
        dropped_records=draw(U32),
        receiver_epoch=draw(U64),
        cookie=draw(st.binary(min_size=16, max_size=16)),
        promise_ms=draw(U32),
    )


@pytest.mark.parametrize("seal", [CHECKSUM, KEY.sender], ids=["checksum", "key"])
def test_every_sync_has_128_bytes(seal: Seal) -> None:
    """The padding makes up for the trailer, so that no reply is larger than its cause."""
    sync = Sync(next_seq=1, floor=0, next_rec=3)
    datagram = encode_sync(seal, sync, stream_id=1, counter=0, sealed_at=0)
    assert len(datagram) == 128


def test_numbers_of_records_wrap() -> None:
    """`next_rec` and `dropped_records` travel modulo 2^32."""
    sync = Sync(next_seq=1, floor=0, next_rec=2**32 + 7, dropped_records=2**32 + 1)
    datagram = encode_sync(CHECKSUM, sync, stream_id=1, counter=0, sealed_at=0)
    decoded = decode_sync(CHECKSUM.open(datagram))
    assert (decoded.next_rec, decoded.dropped_records) == (7, 1)


@given(sync=syncs())
def test_a_sync_survives_the_wire(sync: Sync) -> None:
    """Decoding what was encoded gives the same SYNC."""
    datagram = encode_sync(KEY.sender, sync, stream_id=5, counter=6, sealed_at=7)
    assert decode_sync(KEY.receiver.open(datagram), KEY.receiver.overhead) == sync


@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """The reader raises nothing but `DecodeError`, whatever it is given."""
    with contextlib.suppress(DecodeError):
        decode_sync(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (SYNC_BODY[:-1], "malformed"),
        (SYNC_BODY + b"\0", "malformed"),
        (b"", "malformed"),
        (patched(SYNC_BODY, 0, 8), "unsupported_flags"),
        (patched(SYNC_BODY, 1, 1), "malformed"),
        (patched(SYNC_BODY, 19, 10), "malformed"),
        (patched(SYNC_BODY, 56, 1), "malformed"),
        (patched(SYNC_BODY, 85, 1), "malformed"),
    ],
    ids=["short", "long", "empty", "flag", "zero", "floor", "padding", "padding-end"],
)
def test_an_impossible_sync_is_refused(body: bytes, reason: str) -> None:
    """Wrong size, unknown flags, set reserved bytes, a floor above what was sent."""
    with pytest.raises(DecodeError) as caught:
        decode_sync(body)
    assert caught.value.reason == reason


def test_replacing_a_field_of_a_sync_keeps_the_rest() -> None:
    """`Sync` and `Ack` are plain frozen values."""
    sync = Sync(next_seq=1, floor=0, next_rec=3)
    assert replace(sync, closing=True) == Sync(next_seq=1, floor=0, next_rec=3, closing=True)
