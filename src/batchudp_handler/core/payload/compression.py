"""The compression of payloads, and their decompression within a limit.

zlib, because every Python has it and one datagram gives newer algorithms nothing to gain. A
payload starts from a preset dictionary of what compact payloads have in common: that saves 100
to 200 bytes for about 2 us, until a payload is so long that nobody notices. The levels are
measured: 6 for what fits a datagram of the usual size (9 makes it no smaller), 4 for larger ones,
which it compresses two to three times as fast and to a size 2 to 4 % larger. Of the
small ones, those that are mostly numbers get zlib's strategy for such data, which passes over the
shortest matches: 3 to 5 % fewer bytes, and at level 5 in no more time than level 6 takes without.
Text grows by 2 to 3 % that way. Where the result is not smaller, the payload travels as it is.

On the way in, the output is bounded while it is made, and the stream must end where the data ends.
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.datagram import Baseline, encode_baseline

if TYPE_CHECKING:
    from batchudp_handler.core.payload.limits import DecodeLimits

__all__ = ["DICTIONARY", "Codec", "compress", "compress_baseline", "compress_zstd", "decompress"]


class Codec(IntEnum):
    """How the body of a datagram is to be read; the numbers are those of the wire."""

    JSON = 0
    ZLIB = 1
    ZLIB_DICT = 2
    ZSTD = 3
    GELF = 240
    """Never on the wire: a message of GELF, plain or as a stream of zlib or gzip."""


# Dictionary 1. Part of the wire format: it must never change, another one gets another codec
# number. What is likeliest stands last, where a reference to it costs least. Strings that no
# compact payload spells out in full (a whole traceback, say) are cut into their stable parts.
DICTIONARY = b"".join(
    [
        b"KeyError: '\\nValueError: \\nTypeError: \\nRuntimeError: \\nAttributeError: '",
        b"' object has no attribute '\\nConnectionRefusedError: [Errno 111] Connection refused",
        b"\\nTimeoutError: timed out\\nFileNotFoundError: [Errno 2] No such file or directory: '",
        b"\\n\\nDuring handling of the above exception, another exception occurred:\\n\\n",
        b"\\n\\nThe above exception was the direct cause of the following exception:\\n\\n",
        b'Stack (most recent call last):\\n  File \\"',
        b'\\", line 1, in <module>\\n    raise \\n    return \\n    self.\\n    await ',
        b'    ^^^^^^^^^^^^^^^^\\n  File \\"/usr/local/lib/python3.12/site-packages/',
        b'/usr/lib/python3/dist-packages/\\", line 10, in __init__\\n  File \\"/home/app/src/',
        b'Traceback (most recent call last):\\n  File \\"/opt/venv/lib/python3.13/asyncio/',
        b'true,false,null,"request_id":[null,"user_id":[null,"duration_ms":[null,',
        b'"https://http://127.0.0.1:192.168.10.0.0. HTTP/1.1","GET ","POST "," 200 "404 500 ',
        b'error: failed to connect to %s: %s",2],["request to %s took %d ms (%s)",3],',
        b'user %s: started finished in %.2f seconds",1],["processing %r for %s of %d",',
        b"worker task connection session message response received loading retry ",
        b'celery.gunicorn.uvicorn.django.sqlalchemy.asyncio.urllib3.root",50,"CRITICAL","/app/',
        b'<module>","handle","__call__","run","main",null,0],["__main__",40,"ERROR","/srv/',
        b',"stack":[[0],["exc":[[0],["extra":{"',
        b'"msecs":[["relative":[[.0]],',
        b'"ForkPoolWorker-1","ThreadPoolExecutor-0_0","asyncio_0","Thread-1 (worker)","Task-1"]',
        b'"strings":[""],"values":[[["","]],[[{"of":[0,1,2,0]},{"of":[0,0,0,0,1,1,1,1]}',
        b',"origin":[0,0,0,0,1,',
        b'{"host":"web-1.example.com","static":{"service":"","env":"production"},"time":17',
        b',"start":17,"delta":[100,50,20,200,10,30],',
        b'"sites":[["app.views.py",30,"WARNING","/usr/src/app/',
        b'.py",10,"DEBUG","/',
        b'.py",20,"INFO","/',
        b' %s: %s",2],[" %s %d ms",3]],',
        b'"origins":[[1,"MainProcess",140,"MainThread",null]],"site":[0,0,0,0,1,2,1,0,3]',
    ]
)

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_DICTIONARY_UP_TO = 64 * 1024
_SMALL = 8 * 1024
_LEVEL_SMALL = 6
_LEVEL_LARGE = 4
_LEVEL_NUMBERS = 5
_NUMBERS_FROM = 1_500
"""A shorter payload is mostly host name, sites and origins, which the dictionary knows."""
_NUMERIC = b"0123456789,.-[]"
_SAMPLE = 1_024
_BASELINE_LEVEL = 6
_LEAST = 48
"""Shorter payloads never shrink by more than the fields of zlib's own header."""


def compress(payload: bytes) -> tuple[Codec, bytes]:
    """Compress a compact payload in the way that suits its size.

    Returns:
        The codec and the body; `Codec.JSON` and the payload itself where nothing is gained.
    """
    if len(payload) < _LEAST:
        return Codec.JSON, payload
    level, strategy = _LEVEL_LARGE, zlib.Z_DEFAULT_STRATEGY
    if len(payload) <= _SMALL:
        level = _LEVEL_SMALL
        if _is_mostly_numbers(payload):
            level, strategy = _LEVEL_NUMBERS, zlib.Z_FILTERED
    if len(payload) <= _DICTIONARY_UP_TO:
        codec, deflate = (
            Codec.ZLIB_DICT,
            zlib.compressobj(level, strategy=strategy, zdict=DICTIONARY),
        )
    else:
        codec, deflate = Codec.ZLIB, zlib.compressobj(level, strategy=strategy)
    body = deflate.compress(payload) + deflate.flush()
    return (codec, body) if len(body) < len(payload) else (Codec.JSON, payload)


def _is_mostly_numbers(payload: bytes) -> bool:
    """Whether half of its middle is digits and what stands between numbers."""
    if len(payload) < _NUMBERS_FROM:
        return False
    middle = len(payload) // 2
    sample = payload[middle - _SAMPLE // 2 : middle + _SAMPLE // 2]
    return len(sample.translate(None, _NUMERIC)) * 2 <= _SAMPLE


def compress_baseline(payload: bytes) -> tuple[Codec, bytes]:
    """Compress rows to a whole baseline datagram, or leave them as they are if that is shorter."""
    baseline = Baseline(Codec.ZLIB, zlib.compress(payload, _BASELINE_LEVEL))
    return Codec.ZLIB, min(encode_baseline(baseline), payload, key=len)


def compress_zstd(payload: bytes) -> tuple[Codec, bytes]:
    """Compress with zstd, which both sides must have been told to use.

    Raises:
        ImportError: Neither Python 3.14 nor the package `backports.zstd` is here.
    """
    zstd = _zstd()
    # the window must not be larger than what receivers allow to be allocated
    options = {zstd.CompressionParameter.window_log: 20}
    body: bytes = zstd.compress(payload, options=options)
    return (Codec.ZSTD, body) if len(body) < len(payload) else (Codec.JSON, payload)


def decompress(codec: int, body: bytes, limits: DecodeLimits) -> bytes:
    """The payload that a body holds.

    Raises:
        DecodeError: The codec is not known or not available, the body is damaged, does not end
            where its stream ends, or holds more than `limits.inflated_bytes`.
    """
    if codec == Codec.JSON:
        payload = body
    elif codec == Codec.ZLIB:
        payload = _inflate(zlib.decompressobj(), body, limits)
    elif codec == Codec.ZLIB_DICT:
        payload = _inflate(zlib.decompressobj(zdict=DICTIONARY), body, limits)
    elif codec == Codec.ZSTD:
        payload = _inflate(_zstd_decompressor(limits), body, limits)
    elif codec == Codec.GELF and limits.gelf:
        is_plain = body.lstrip()[:1] == b"{"
        payload = body if is_plain else _inflate(zlib.decompressobj(_ZLIB_OR_GZIP), body, limits)
    else:
        raise DecodeError(Reason.CODEC, "unknown codec")
    if len(payload) > limits.inflated_bytes:
        raise DecodeError(Reason.INFLATE_LIMIT)
    return payload


def _inflate(stream: Any, body: bytes, limits: DecodeLimits) -> bytes:
    """What `stream` makes of `body`; both must end together."""
    try:
        payload: bytes = stream.decompress(body, limits.inflated_bytes + 1)
    except Exception as error:  # noqa: BLE001  # zlib.error, ZstdError of a module loaded late, MemoryError
        raise DecodeError(Reason.CODEC, type(error).__name__) from None
    if len(payload) > limits.inflated_bytes:
        raise DecodeError(Reason.INFLATE_LIMIT)
    if not stream.eof or stream.unused_data:
        raise DecodeError(Reason.CODEC, "body and stream end at different places")
    return payload


def _zstd_decompressor(limits: DecodeLimits) -> Any:
    try:
        zstd = _zstd()
    except ImportError:
        raise DecodeError(Reason.CODEC, "zstd is not available") from None
    window = zstd.DecompressionParameter.window_log_max
    return zstd.ZstdDecompressor(options={window: limits.zstd_window_log})


def _zstd() -> Any:
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")
