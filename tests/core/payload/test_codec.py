"""The codecs behind one function: every form is found, and only a DecodeError comes out."""

from __future__ import annotations

import contextlib
import json
import logging
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import (
    BatchHeader,
    Codec,
    compress,
    decode_payload,
    encode_compact,
    encode_rows,
)
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = BatchHeader("near", {"service": "shop"})
LIMITS = DecodeLimits()
SNAPSHOTS = [
    snapshot(
        logging.LogRecord("a.b", 20, "/x/y.py", line, "user %s: %d", ("u", line), None),
        format_exception=str,
    )
    or ()
    for line in (1, 2, 1)
]
BODIES = [compress(encode(SNAPSHOTS, HEADER)) for encode in (encode_compact, encode_rows)]


@pytest.mark.parametrize("codec", [Codec.JSON, Codec.ZLIB, Codec.ZLIB_DICT])
def test_form_is_told_by_the_document(codec: Codec) -> None:
    """Compact or rows, in any codec: the same records."""
    for payload in (encode_compact(SNAPSHOTS, HEADER), encode_rows(SNAPSHOTS, HEADER)):
        bodies = {Codec.JSON: payload, Codec.ZLIB: zlib.compress(payload)}
        bodies[Codec.ZLIB_DICT] = compress(payload)[1]
        batch = decode_payload(codec, bodies[codec], LIMITS)
        assert [r.getMessage() for r in records(batch, {})] == [
            "user u: 1",
            "user u: 2",
            "user u: 1",
        ]
        assert all(vars(record)["service"] == "shop" for record in records(batch, {}))


@pytest.mark.parametrize("compress", [bytes, zlib.compress], ids=["plain", "zlib"])
def test_message_of_gelf(compress: Callable[[bytes], bytes]) -> None:
    """It has a codec of its own, which only receivers know that were asked to."""
    body = compress(json.dumps({"host": "web", "short_message": "hi", "sites": []}).encode())
    (record,) = records(decode_payload(Codec.GELF, body, DecodeLimits(gelf=True)), {})
    assert (record.getMessage(), vars(record)["hostname"]) == ("hi", "web")
    with pytest.raises(DecodeError) as caught:
        decode_payload(Codec.GELF, body, LIMITS)
    assert caught.value.reason is Reason.CODEC


def test_empty_batch() -> None:
    """Nothing to say is not an error to encode, and not a batch to decode."""
    assert encode_rows([], HEADER) == b"[]"
    with pytest.raises(DecodeError):
        decode_payload(0, encode_rows([], HEADER), LIMITS)


@settings(max_examples=300, deadline=None)
@given(codec=st.integers(0, 4), body=st.binary(max_size=80))
def test_any_bytes_are_decoded_or_refused(codec: int, body: bytes) -> None:
    """No input makes anything but a batch or a `DecodeError`."""
    with contextlib.suppress(DecodeError):
        decode_payload(codec, body, LIMITS)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_damaged_payload_is_decoded_or_refused(data: st.DataObject) -> None:
    """A byte changed, left out or put in: refused, or records that can be printed."""
    payload = bytearray(
        data.draw(st.sampled_from([encode_compact, encode_rows]))(SNAPSHOTS, HEADER)
    )
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at : at + data.draw(st.integers(0, 3))] = data.draw(
        st.sampled_from([b"", b"9", b"-", b"[", b"]", b",", b'"', b"null", b"1e999", b"%", b"\\"])
    )
    try:
        batch = decode_payload(0, bytes(payload), LIMITS)
    except DecodeError:
        return
    formatter = logging.Formatter("%(asctime)s %(created)f %(levelno)d %(lineno)d %(message)s")
    assert all(formatter.format(record) for record in records(batch, {"received": 1.0}))


@pytest.mark.parametrize("body", [body for _, body in BODIES], ids=["compact", "rows"])
def test_every_truncation_is_refused(body: bytes) -> None:
    """A body that lacks its end is never half a batch."""
    for end in range(len(body)):
        with pytest.raises(DecodeError):
            decode_payload(Codec.ZLIB_DICT, body[:end], LIMITS)


def test_error_says_nothing_of_the_content() -> None:
    """What is refused cannot write itself into a log by being refused."""
    with pytest.raises(DecodeError) as caught:
        decode_payload(0, b'{"message": "secret"', LIMITS)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
