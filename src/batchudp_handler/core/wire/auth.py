"""Keys that both ends share, and the seals made from them.

A key is an id, a secret and an algorithm that nothing on the wire can change. It has two seals,
one for each end, because the two directions use different keys derived from the secret: an ACK
can never be replayed as DATA.

* `HmacKey`: HMAC-SHA256, 16 bytes of it. Proves the sender, hides nothing.
* `AeadKey`: DATA is ChaCha20-Poly1305, which hides it too; SYNC and ACK hold no secrets and are
  signed as with `HmacKey`. Needs the package `cryptography`, or its cipher class as an argument.

Secrets are in no `repr` and in no error.
"""

from __future__ import annotations

import hmac
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from batchudp_handler.core.errors import ConfigError, DecodeError, Reason
from batchudp_handler.core.wire.constants import HEADER_SIZE, TAG_SIZE
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["AeadKey", "Cipher", "HmacKey", "Key", "KeyRing", "hkdf_sha256"]

MIN_SECRET = 32
TO_RECEIVER = b"bu1 s2r"
TO_SENDER = b"bu1 r2s"
DATA_INFO = b"bu1 data"

STREAM_CIPHERS = 1024
"""Derived keys kept: as many as a receiver has streams."""

_TYPE = 3
_STREAM_ID = slice(8, 16)
_SEQ = slice(16, 24)
_SEALED_AT = slice(28, 32)


class Cipher(Protocol):
    """The part of `cryptography`'s ChaCha20Poly1305 that is used."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return ciphertext and tag."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return the plain text; raise anything if it was changed."""


class Key(Protocol):
    """A shared secret with a number, as both ends configure it."""

    @property
    def key_id(self) -> int:
        """1 to 65,535."""

    @property
    def sender(self) -> Seal:
        """The sender's seal: it seals DATA and SYNC, and opens ACK."""

    @property
    def receiver(self) -> Seal:
        """The receiver's seal: it opens DATA and SYNC, and seals ACK."""


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Derive 32 bytes (RFC 5869, one block)."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


class HmacKey:
    """A key that signs."""

    __slots__ = ("_receiver", "_sender", "key_id")

    def __init__(self, key_id: int, secret: bytes) -> None:
        _check_key(key_id, secret)
        self.key_id = key_id
        outward, inward = _directions(secret)
        self._sender = _HmacSeal(key_id, outward, inward)
        self._receiver = _HmacSeal(key_id, inward, outward)

    @property
    def sender(self) -> Seal:
        """The sender's seal: it seals DATA and SYNC, and opens ACK."""
        return self._sender

    @property
    def receiver(self) -> Seal:
        """The receiver's seal: it opens DATA and SYNC, and seals ACK."""
        return self._receiver

    def __repr__(self) -> str:
        return f"HmacKey({self.key_id}, <secret>)"


class AeadKey:
    """A key that encrypts DATA and signs the rest.

    Args:
        key_id: 1 to 65,535.
        secret: at least 32 random bytes.
        cipher: a class that takes 32 bytes of key; None: ChaCha20Poly1305 of `cryptography`.
    """

    __slots__ = ("_receiver", "_sender", "key_id")

    def __init__(
        self, key_id: int, secret: bytes, cipher: Callable[[bytes], Cipher] | None = None
    ) -> None:
        _check_key(key_id, secret)
        self.key_id = key_id
        outward, inward = _directions(secret)
        ciphers = _StreamCiphers(secret, cipher or _import_cipher())
        self._sender = _AeadSeal(_HmacSeal(key_id, outward, inward), ciphers)
        self._receiver = _AeadSeal(_HmacSeal(key_id, inward, outward), ciphers)

    @property
    def sender(self) -> Seal:
        """The sender's seal: it seals DATA and SYNC, and opens ACK."""
        return self._sender

    @property
    def receiver(self) -> Seal:
        """The receiver's seal: it opens DATA and SYNC, and seals ACK."""
        return self._receiver

    def __repr__(self) -> str:
        return f"AeadKey({self.key_id}, <secret>)"


class KeyRing:
    """The seals that a receiver knows, by key id.

    Without keys the checksum is accepted; with keys only when `accept_unauthenticated` says so.
    """

    __slots__ = ("_seals", "accepts_unauthenticated", "has_keys")

    def __init__(self, keys: Iterable[Key] = (), *, accept_unauthenticated: bool = False) -> None:
        self._seals: dict[int, Seal] = {}
        for key in keys:
            if key.key_id in self._seals:
                raise ConfigError(f"key id {key.key_id} is used twice")
            self._seals[key.key_id] = key.receiver
        self.has_keys = bool(self._seals)
        self.accepts_unauthenticated = accept_unauthenticated or not self.has_keys
        if self.accepts_unauthenticated:
            self._seals[0] = CHECKSUM

    def seal(self, key_id: int) -> Seal:
        """Return the seal to open a datagram with; raise `DecodeError` when there is none."""
        found = self._seals.get(key_id)
        if found is None:
            raise DecodeError(Reason.UNKNOWN_KEY if key_id else Reason.UNAUTHENTICATED)
        return found

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self._seals)})"


class _HmacSeal:
    __slots__ = ("_opening", "_sealing", "key_id")
    overhead = TAG_SIZE

    def __init__(self, key_id: int, sealing: bytes, opening: bytes) -> None:
        self.key_id = key_id
        self._sealing = sealing
        self._opening = opening

    def seal(self, header: bytes, body: bytes) -> bytes:
        """Append the tag."""
        datagram = header + body
        return datagram + hmac.digest(self._sealing, datagram, "sha256")[:TAG_SIZE]

    def open(self, datagram: bytes) -> bytes:
        """Return the body if the tag is right; compare in constant time."""
        if len(datagram) < HEADER_SIZE + TAG_SIZE:
            raise DecodeError(Reason.MALFORMED, "shorter than header and trailer")
        expected = hmac.digest(self._opening, datagram[:-TAG_SIZE], "sha256")[:TAG_SIZE]
        if not hmac.compare_digest(expected, datagram[-TAG_SIZE:]):
            raise DecodeError(Reason.AUTH_FAILED)
        return datagram[HEADER_SIZE:-TAG_SIZE]

    def __repr__(self) -> str:
        return f"<HMAC seal of key {self.key_id}>"


class _AeadSeal:
    __slots__ = ("_ciphers", "_signature", "key_id")
    overhead = TAG_SIZE

    def __init__(self, signature: _HmacSeal, ciphers: _StreamCiphers) -> None:
        self.key_id = signature.key_id
        self._signature = signature
        self._ciphers = ciphers

    def seal(self, header: bytes, body: bytes) -> bytes:
        """Encrypt and tag DATA, sign anything else."""
        if header[_TYPE] > DatagramType.DATA_ACKNOWLEDGED:
            return self._signature.seal(header, body)
        cipher = self._ciphers.get(header[_STREAM_ID])
        return header + cipher.encrypt(_nonce(header), body, header)

    def open(self, datagram: bytes) -> bytes:
        """Return the body if the tag is right, of DATA decrypted."""
        if datagram[_TYPE] > DatagramType.DATA_ACKNOWLEDGED:
            return self._signature.open(datagram)
        if len(datagram) < HEADER_SIZE + TAG_SIZE:
            raise DecodeError(Reason.MALFORMED, "shorter than header and trailer")
        return self._ciphers.decrypt(datagram[:HEADER_SIZE], datagram[HEADER_SIZE:])

    def __repr__(self) -> str:
        return f"<AEAD seal of key {self.key_id}>"


class _StreamCiphers:
    """One derived key per stream, so that nonces need to be unique within a stream only."""

    __slots__ = ("_by_stream", "_cipher", "_secret")

    def __init__(self, secret: bytes, cipher: Callable[[bytes], Cipher]) -> None:
        self._secret = secret
        self._cipher = cipher
        self._by_stream: dict[bytes, Cipher] = {}

    def get(self, stream_id: bytes) -> Cipher:
        """Return the cipher of a stream, and remember it."""
        cipher = self._by_stream.get(stream_id) or self._derive(stream_id)
        self._remember(stream_id, cipher)
        return cipher

    def decrypt(self, header: bytes, sealed: bytes) -> bytes:
        """Open DATA; remember a cipher only when it has opened something."""
        stream_id = header[_STREAM_ID]
        cipher = self._by_stream.get(stream_id) or self._derive(stream_id)
        try:
            body = cipher.decrypt(_nonce(header), sealed, header)
        except Exception as error:  # InvalidTag, whose class is in an optional package
            raise DecodeError(Reason.AUTH_FAILED) from error
        self._remember(stream_id, cipher)
        return body

    def _derive(self, stream_id: bytes) -> Cipher:
        return self._cipher(hkdf_sha256(self._secret, salt=stream_id, info=DATA_INFO))

    def _remember(self, stream_id: bytes, cipher: Cipher) -> None:
        if stream_id in self._by_stream:
            return
        if len(self._by_stream) >= STREAM_CIPHERS:
            del self._by_stream[next(iter(self._by_stream))]
        self._by_stream[stream_id] = cipher


def _nonce(header: bytes) -> bytes:
    """Return 12 bytes that never come twice with one stream's key: bytes are sealed once."""
    return header[_SEALED_AT] + header[_SEQ]


def _directions(secret: bytes) -> tuple[bytes, bytes]:
    outward = hmac.digest(secret, TO_RECEIVER, "sha256")
    inward = hmac.digest(secret, TO_SENDER, "sha256")
    return outward, inward


def _check_key(key_id: int, secret: bytes) -> None:
    if not 1 <= key_id <= 0xFFFF:
        raise ConfigError("a key id must be a number from 1 to 65535")
    if len(secret) < MIN_SECRET:
        raise ConfigError(f"the secret of key {key_id} is shorter than {MIN_SECRET} bytes")


def _import_cipher() -> Callable[[bytes], Cipher]:
    try:
        module = import_module("cryptography.hazmat.primitives.ciphers.aead")
    except ImportError as error:
        raise ConfigError("an encrypting key needs batchudp-handler[crypto]") from error
    cipher: Callable[[bytes], Cipher] = module.ChaCha20Poly1305
    return cipher
