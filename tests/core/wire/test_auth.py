"""Datagrams with a key are accepted from its holders, and from nobody else."""

from __future__ import annotations

import hmac
import json
import traceback
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from batchudp_handler.core.errors import ConfigError, DecodeError, Reason
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.auth import AeadKey, HmacKey, Key, KeyRing, hkdf_sha256
from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data
from batchudp_handler.core.wire.sync import Sync, encode_sync

VECTORS = Path(__file__).parents[2] / "vectors"
SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))


class ToyCipher:
    """An AEAD of the standard library, to test what is around the real one."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _mask(self, nonce: bytes, size: int) -> bytes:
        return b"".join(
            sha256(self._key + nonce + bytes([block])).digest() for block in range(size // 32 + 1)
        )[:size]

    def _tag(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
        return hmac.digest(self._key, nonce + associated + data, "sha256")[:16]

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        hidden = bytes(a ^ b for a, b in zip(data, self._mask(nonce, len(data)), strict=True))
        return hidden + self._tag(nonce, hidden, associated_data or b"")

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        hidden, tag = data[:-16], data[-16:]
        if tag != self._tag(nonce, hidden, associated_data or b""):
            raise ValueError("wrong tag")
        return bytes(a ^ b for a, b in zip(hidden, self._mask(nonce, len(hidden)), strict=True))


def signing(key_id: int = 1, secret: bytes = SECRET) -> Key:
    return HmacKey(key_id, secret)


def encrypting(key_id: int = 1, secret: bytes = SECRET) -> Key:
    return AeadKey(key_id, secret, ToyCipher)


both_kinds = pytest.mark.parametrize("make", [signing, encrypting])


def data(key: Key, *, stream_id: int = 1, seq: int = 2, body: bytes = b"the body") -> bytes:
    return encode_data(
        key.sender,
        body,
        acknowledged=False,
        codec=0,
        stream_id=stream_id,
        seq=seq,
        rec=3,
        sealed_at=4,
        n_rec=5,
    )


def sync(key: Key) -> bytes:
    return encode_sync(
        key.sender, Sync(next_seq=2, floor=1, next_rec=3), stream_id=1, counter=0, sealed_at=4
    )


def ack(key: Key) -> bytes:
    return encode_ack(key.receiver, Ack(receiver_epoch=1), stream_id=1, counter=0, sealed_at=4)


@both_kinds
def test_the_other_end_opens_what_was_sealed(make: Any) -> None:
    """DATA, SYNC and ACK pass with the same key at both ends."""
    key, peer = make(), make()
    assert peer.receiver.open(data(key)) == b"the body"
    assert len(peer.receiver.open(sync(key))) == 74
    assert len(peer.sender.open(ack(key))) == 32


@both_kinds
def test_another_secret_opens_nothing(make: Any) -> None:
    """The key id alone is worth nothing."""
    stranger = make(secret=OTHER)
    for datagram, seal in (
        (data(make()), stranger.receiver),
        (sync(make()), stranger.receiver),
        (ack(make()), stranger.sender),
    ):
        with pytest.raises(DecodeError) as caught:
            seal.open(datagram)
        assert caught.value.reason is Reason.AUTH_FAILED


@both_kinds
def test_a_reflected_datagram_is_refused(make: Any) -> None:
    """What a sender sealed does not open at a sender, nor an ACK at a receiver."""
    key = make()
    for datagram, seal in ((sync(key), key.sender), (ack(key), key.receiver)):
        with pytest.raises(DecodeError) as caught:
            seal.open(datagram)
        assert caught.value.reason is Reason.AUTH_FAILED


def test_signed_data_is_refused_when_reflected() -> None:
    """The same for DATA, which with an encrypting key only ever travels one way."""
    with pytest.raises(DecodeError):
        signing().sender.open(data(signing()))


@both_kinds
def test_each_flipped_bit_and_each_cut_is_refused(make: Any) -> None:
    """Every one of the 1,600 bits of a 200-byte datagram, and every length."""
    key = make()
    datagram = data(key, body=bytes(146))
    assert len(datagram) == 200
    number = int.from_bytes(datagram, "big")
    refused = 0
    for bit in range(1600):
        flipped = (number ^ 1 << bit).to_bytes(200, "big")
        with pytest.raises(DecodeError):
            key.receiver.open(flipped)
        refused += 1
    assert refused == 1600
    for length in range(38, 200):
        with pytest.raises(DecodeError):
            key.receiver.open(datagram[:length])


def test_an_encrypting_key_hides_the_body() -> None:
    """The text of DATA is not on the wire; its length is."""
    datagram = data(encrypting(), body=b"visible?" * 8)
    assert b"visible?" not in datagram
    assert len(datagram) == 38 + 64 + 16


def test_a_signing_key_signs_as_documented() -> None:
    """The tag is HMAC-SHA256 with the key of the direction, cut to 16 bytes."""
    datagram = data(signing())
    outward = hmac.digest(SECRET, b"bu1 s2r", "sha256")
    assert datagram[-16:] == hmac.digest(outward, datagram[:-16], "sha256")[:16]
    reply = ack(signing())
    inward = hmac.digest(SECRET, b"bu1 r2s", "sha256")
    assert reply[-16:] == hmac.digest(inward, reply[:-16], "sha256")[:16]


def test_streams_have_keys_of_their_own() -> None:
    """The same datagram number and body look different in another stream."""
    key = encrypting()
    assert data(key, stream_id=1)[38:] != data(key, stream_id=2)[38:]
    for stream_id in range(3000):
        assert key.receiver.open(data(key, stream_id=stream_id)) == b"the body"


def test_the_key_derivation_is_hkdf() -> None:
    """RFC 5869, test case 1, of which our use takes the first block."""
    derived = hkdf_sha256(
        bytes([0x0B] * 22),
        salt=bytes(range(13)),
        info=bytes(range(0xF0, 0xFA)),
    )
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_chacha20_poly1305_opens_the_vectors() -> None:
    """The real cipher makes and opens the committed datagrams."""
    pytest.importorskip("cryptography")
    loaded = json.loads((VECTORS / "datagram-aead.json").read_text("utf-8"))
    key = AeadKey(loaded["key_id"], bytes.fromhex(loaded["secret"]))
    opened = 0
    for vector in loaded["datagrams"]:
        datagram = bytes.fromhex(vector["datagram"])
        seal = key.sender if vector["name"].startswith("ack/") else key.receiver
        body = seal.open(datagram)
        if vector["name"].startswith("data/"):
            assert body.hex() == vector["fields"]["body"]
        opened += 1
        with pytest.raises(DecodeError):
            seal.open(datagram[:-1] + bytes([datagram[-1] ^ 1]))
    assert opened == 13


def test_the_signed_vectors_open() -> None:
    """The committed datagrams with a signing key open with it."""
    loaded = json.loads((VECTORS / "datagram-hmac.json").read_text("utf-8"))
    key = HmacKey(loaded["key_id"], bytes.fromhex(loaded["secret"]))
    for vector in loaded["datagrams"]:
        seal = key.sender if vector["name"].startswith("ack/") else key.receiver
        body = seal.open(bytes.fromhex(vector["datagram"]))
        if vector["name"].startswith("data/"):
            assert body.hex() == vector["fields"]["body"]


def test_without_cryptography_an_encrypting_key_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None
    )
    with pytest.raises(ConfigError, match=r"batchudp-handler\[crypto\]"):
        AeadKey(1, SECRET)


@both_kinds
def test_secrets_are_in_no_repr_and_no_error(make: Any) -> None:
    """Neither the secret nor its derived keys can be read from a log or a traceback."""
    key = make()
    shown = " ".join(map(repr, (key, key.sender, key.receiver, KeyRing([key]))))
    with pytest.raises(DecodeError) as caught:
        make(secret=OTHER).receiver.open(data(key))
    shown += str(caught.value)
    with pytest.raises(ConfigError) as refused:
        make(secret=b"hunter2")
    shown += str(refused.value)
    for hidden in (repr(SECRET)[2:-1], SECRET.hex(), "hunter2"):
        assert hidden not in shown


@both_kinds
def test_secrets_are_in_no_traceback(make: Any) -> None:
    """Nor in those of the errors that caused an error."""
    stranger = make(secret=OTHER)
    shown = []
    for failing in (
        lambda: stranger.receiver.open(data(make())),
        lambda: stranger.sender.open(ack(make())),
        lambda: make(secret=SECRET[:31]),
        lambda: make(key_id=0),
        lambda: KeyRing([make(), make()]),
    ):
        with pytest.raises((DecodeError, ConfigError)) as caught:
            failing()
        shown += traceback.format_exception(caught.value)
    text = "".join(shown)
    for secret in (SECRET, OTHER, SECRET[:31]):
        for hidden in (repr(secret)[2:-1], secret.hex(), b64encode(secret).decode()):
            assert hidden not in text


@both_kinds
@pytest.mark.parametrize("key_id", [0, -1, 65_536])
def test_a_key_id_has_16_bits_and_is_not_0(make: Any, key_id: int) -> None:
    """0 means no key, so no key may have it."""
    with pytest.raises(ConfigError, match="key id"):
        make(key_id=key_id)


@both_kinds
def test_a_short_secret_is_refused(make: Any) -> None:
    """32 bytes or more."""
    make(secret=bytes(32))
    with pytest.raises(ConfigError, match="32 bytes"):
        make(secret=bytes(31))


def test_a_ring_without_keys_takes_the_checksum() -> None:
    """Who has no keys wants none."""
    ring = KeyRing()
    assert ring.seal(0) is CHECKSUM
    assert ring.accepts_unauthenticated
    with pytest.raises(DecodeError) as caught:
        ring.seal(1)
    assert caught.value.reason is Reason.UNKNOWN_KEY


def test_a_ring_with_keys_refuses_the_checksum() -> None:
    """No downgrade, unless it is asked for."""
    ring = KeyRing([signing(1), encrypting(2)])
    assert not ring.accepts_unauthenticated
    assert (ring.seal(1).key_id, ring.seal(2).key_id) == (1, 2)
    with pytest.raises(DecodeError) as caught:
        ring.seal(0)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert KeyRing([signing(1)], accept_unauthenticated=True).seal(0) is CHECKSUM


def test_two_keys_with_one_id_are_refused() -> None:
    """Which one was meant could not be told."""
    with pytest.raises(ConfigError, match="twice"):
        KeyRing([signing(1), encrypting(1)])
