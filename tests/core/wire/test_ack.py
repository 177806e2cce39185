"""An ACK says the same at the other end, and an impossible one is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.wire.ack import Ack, decode_ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import CHECKSUM, Seal

KEY = HmacKey(7, bytes(range(32)))
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
ACK_BODY = CHECKSUM.open(
    encode_ack(CHECKSUM, Ack(receiver_epoch=9, bitmap=6), stream_id=1, counter=0, sealed_at=0)
)


def patched(body: bytes, offset: int, value: int) -> bytes:
    return body[:offset] + bytes([value]) + body[offset + 1 :]


acks = st.builds(
    Ack,
    receiver_epoch=st.integers(1, 2**64 - 1),
    floor=U64,
    credit=U32,
    rejected_records=U32,
    delivered_records=U32,
    bitmap=st.integers(0, 2**4096 - 1),
    closing=st.booleans(),
)


@pytest.mark.parametrize(("seal", "size"), [(CHECKSUM, 90), (KEY.receiver, 102)])
def test_a_challenge_is_smaller_than_its_cause(seal: Seal, size: int) -> None:
    """A CHALLENGE has 90 bytes, with a tag 102."""
    ack = Ack(receiver_epoch=1, cookie=bytes(16))
    assert len(encode_ack(seal, ack, stream_id=1, counter=0, sealed_at=0)) == size


def test_a_challenge_survives_the_wire() -> None:
    """It has the cookie and the epoch, and nothing else counts."""
    ack = Ack(receiver_epoch=3, cookie=bytes(range(16)))
    datagram = encode_ack(KEY.receiver, ack, stream_id=1, counter=0, sealed_at=0)
    assert decode_ack(KEY.sender.open(datagram)) == ack


@given(ack=acks)
def test_an_ack_survives_the_wire(ack: Ack) -> None:
    """Decoding what was encoded gives the same ACK."""
    datagram = encode_ack(CHECKSUM, ack, stream_id=5, counter=6, sealed_at=7)
    assert decode_ack(CHECKSUM.open(datagram)) == ack
    assert len(datagram) <= 586


@given(body=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """The reader raises nothing but `DecodeError`, whatever it is given."""
    with contextlib.suppress(DecodeError):
        decode_ack(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ACK_BODY[:-1], "malformed"),
        (ACK_BODY + b"\0", "malformed"),
        (ACK_BODY[:31], "malformed"),
        (b"", "malformed"),
        (patched(ACK_BODY, 0, 4), "unsupported_flags"),
        (patched(ACK_BODY, 0, 1), "malformed"),
        (patched(ACK_BODY, 1, 1), "malformed"),
        (patched(ACK_BODY, 2, 3), "malformed"),
        (patched(ACK_BODY, 11, 0), "malformed"),
    ],
    ids=["short", "long", "cut", "empty", "flag", "challenge", "zero", "length", "epoch-0"],
)
def test_an_impossible_ack_is_refused(body: bytes, reason: str) -> None:
    """Wrong size, unknown flags, a bitmap beside a cookie, no epoch."""
    with pytest.raises(DecodeError) as caught:
        decode_ack(body)
    assert caught.value.reason == reason


def test_an_oversized_bitmap_is_refused() -> None:
    """Not more than 512 bytes, also when the length agrees."""
    ack = Ack(receiver_epoch=1, bitmap=1 << 4096)
    datagram = encode_ack(CHECKSUM, ack, stream_id=1, counter=0, sealed_at=0)
    with pytest.raises(DecodeError):
        decode_ack(CHECKSUM.open(datagram))
