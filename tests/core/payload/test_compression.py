"""Compression, and bodies that are not what they seem."""

from __future__ import annotations

import gzip
import random
import sys
import zlib
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.compression import (
    DICTIONARY,
    Codec,
    compress,
    compress_baseline,
    compress_zstd,
    decompress,
)
from batchudp_handler.core.payload.limits import DecodeLimits

if TYPE_CHECKING:
    from collections.abc import Callable

DICTIONARY_CHECKSUM = 0xEA535498
LIMITS = DecodeLimits(inflated_bytes=100_000)
NOISE = random.Random(1).randbytes(5_000)


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (b"", Codec.JSON),
        (b"[]", Codec.JSON),
        (NOISE, Codec.JSON),
        (NOISE * 13, Codec.ZLIB_DICT),
        (b"abc" * 100, Codec.ZLIB_DICT),
        (b"abc" * 30_000, Codec.ZLIB),
    ],
    ids=["empty", "tiny", "noise", "large noise", "small", "large"],
)
def test_codec_suits_the_payload(payload: bytes, codec: Codec) -> None:
    """The dictionary up to a datagram's size, nothing where it does not pay; all reversible."""
    used, body = compress(payload)
    assert used is codec
    assert len(body) <= len(payload)
    assert decompress(used, body, LIMITS) == payload


def test_dictionary_pays_for_a_first_record() -> None:
    """A payload of one record is smaller with the dictionary than without it."""
    payload = (
        b'{"host":"a","time":1795463015915687,"start":1795463000000000,"delta":[],"sites":'
        b'[["shop",20,"INFO","/srv/shop.py",5,"run","user %s",1]],"origins":[[4,"MainProcess",'
        b'140034592357248,"MainThread",null]],"site":[0],"values":[[["x"]]]}'
    )
    assert len(compress(payload)[1]) < len(zlib.compress(payload, 9)) - 80


def test_numbers_take_fewer_bytes_than_at_the_usual_level() -> None:
    """Columns of numbers that fit a small datagram shrink further than level 6 shrinks them."""
    chance = random.Random(5)
    columns = [[chance.randrange(limit) for _ in range(300)] for limit in (4, 200, 9_000)]
    payload = str(columns).replace(" ", "").encode()
    usual = zlib.compressobj(6, zdict=DICTIONARY)

    codec, body = compress(payload)

    assert len(body) < len(usual.compress(payload) + usual.flush())
    assert decompress(codec, body, DecodeLimits()) == payload


def test_dictionary_is_part_of_the_wire_format() -> None:
    """Dictionary 1 never changes: its Adler-32 is in the datagrams of every release."""
    assert zlib.adler32(DICTIONARY) == DICTIONARY_CHECKSUM


def refusal(codec: int, body: bytes) -> Reason:
    with pytest.raises(DecodeError) as caught:
        decompress(codec, body, LIMITS)
    return caught.value.reason


@pytest.mark.parametrize("size", [100_001, 50_000_000])
def test_bomb_stops_at_the_limit(size: int) -> None:
    """What inflates to more than the limit is refused, however small it is."""
    assert refusal(Codec.ZLIB, zlib.compress(bytes(size))) is Reason.INFLATE_LIMIT


def test_limit_itself_is_allowed() -> None:
    """The limit is the largest size, in every codec."""
    assert len(decompress(Codec.ZLIB, zlib.compress(bytes(100_000)), LIMITS)) == 100_000
    assert refusal(Codec.JSON, bytes(100_001)) is Reason.INFLATE_LIMIT


def test_stream_and_body_end_together() -> None:
    """Neither bytes behind the stream nor a stream without its end are accepted."""
    body = zlib.compress(b"[1,2,3]")
    assert refusal(Codec.ZLIB, body + b"x") is Reason.CODEC
    assert refusal(Codec.ZLIB, body + body) is Reason.CODEC
    for end in range(len(body)):
        assert refusal(Codec.ZLIB, body[:end]) is Reason.CODEC


def test_damage_is_noticed() -> None:
    """A flipped bit in the checked part is refused."""
    body = bytearray(zlib.compress(b"[1,2,3]" * 9))
    body[-1] ^= 1
    assert refusal(Codec.ZLIB, bytes(body)) is Reason.CODEC


def test_other_dictionary_is_refused() -> None:
    """A body made with a dictionary we do not have cannot be read as if we had it."""
    deflate = zlib.compressobj(zdict=b"another dictionary")
    body = deflate.compress(b"[1,2,3]") + deflate.flush()
    assert refusal(Codec.ZLIB_DICT, body) is Reason.CODEC
    assert refusal(Codec.ZLIB, body) is Reason.CODEC


def test_unknown_codec_is_refused() -> None:
    """Codec numbers of the future are counted, not guessed."""
    assert refusal(9, b"[]") is Reason.CODEC


def test_baseline_is_a_whole_datagram() -> None:
    """Three bytes and zlib's, which any program can make; or the payload, if that is shorter."""
    payload = b'[{"message":"hello"}]'
    assert compress_baseline(payload) == (Codec.ZLIB, payload)
    _, datagram = compress_baseline(payload * 50)
    assert datagram[:3] == b"\xcb\xf2\x01"
    assert zlib.decompress(datagram[3:]) == payload * 50


@pytest.mark.parametrize(
    "pack",
    [bytes, b" \n".__add__, zlib.compress, gzip.compress],
    ids=["plain", "indented", "zlib", "gzip"],
)
def test_forms_of_gelf(pack: Callable[[bytes], bytes]) -> None:
    """Told by the first bytes, and read only where it was asked for."""
    message = b'{"short_message":"hi"}'
    body = pack(message)
    asked = DecodeLimits(inflated_bytes=100, gelf=True)
    assert decompress(Codec.GELF, body, asked).strip() == message
    assert refusal(Codec.GELF, body) is Reason.CODEC
    with pytest.raises(DecodeError) as caught:
        decompress(Codec.GELF, pack(b'{"short_message":"' + b"hi" * 99 + b'"}'), asked)
    assert caught.value.reason is Reason.INFLATE_LIMIT


class ZlibAsZstd(ModuleType):
    """What the codec uses of `compression.zstd`, for a Python that has none: zlib inside."""

    CompressionParameter = DecompressionParameter = SimpleNamespace(
        window_log="window_log", window_log_max="window_log_max"
    )

    @staticmethod
    def compress(payload: bytes, options: dict[str, int]) -> bytes:
        assert options == {"window_log": 20}
        return zlib.compress(payload)

    @staticmethod
    def ZstdDecompressor(options: dict[str, int]) -> Any:
        assert options == {"window_log_max": LIMITS.zstd_window_log}
        return zlib.decompressobj()


@pytest.fixture
def zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that there is a zstd: the real one if any can be imported."""
    try:
        compress_zstd(b"")
    except ImportError:
        monkeypatch.setitem(sys.modules, "compression.zstd", ZlibAsZstd("compression.zstd"))


@pytest.mark.usefixtures("zstd")
def test_zstd_where_it_is_there() -> None:
    """Bounded as zlib is, and nothing that does not pay."""
    codec, body = compress_zstd(b"abc" * 1_000)
    assert codec is Codec.ZSTD
    assert len(body) < 100
    assert decompress(codec, body, LIMITS) == b"abc" * 1_000
    assert compress_zstd(NOISE) == (Codec.JSON, NOISE)
    _, bomb = compress_zstd(bytes(1_000_000))
    assert refusal(Codec.ZSTD, bomb) is Reason.INFLATE_LIMIT
    assert refusal(Codec.ZSTD, body + b"x") is Reason.CODEC
    assert refusal(Codec.ZSTD, body[:-1]) is Reason.CODEC


def test_zstd_where_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional: what came is refused, and whoever wants to send it is told."""
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert refusal(Codec.ZSTD, b"\x28\xb5\x2f\xfd") is Reason.CODEC
    with pytest.raises(ImportError):
        compress_zstd(b"abc")
