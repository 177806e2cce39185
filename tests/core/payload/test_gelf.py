"""What a GELF message means, of whichever library."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records

if TYPE_CHECKING:
    import logging

LIMITS = DecodeLimits(gelf=True)
SMALLEST = {"version": "1.1", "host": "web-1", "short_message": "hi"}


def decode(body: bytes, limits: DecodeLimits = LIMITS) -> logging.LogRecord:
    (record,) = records(decode_payload(Codec.GELF, body, limits), {"received": 5.0})
    return record


def decoded(**members: Any) -> dict[str, Any]:
    record = decode(json.dumps({**SMALLEST, **members}).encode())
    return {**vars(record), "message": record.getMessage()}


def test_the_smallest_message() -> None:
    """Host and text are known; the rest is what rows have without it."""
    found = decoded()
    assert (found["message"], found["hostname"], found["created"]) == ("hi", "web-1", 5.0)
    assert (found["levelno"], found["levelname"], found["name"]) == (20, "INFO", "root")
    assert "version" not in found


def test_levels() -> None:
    """Levels are those of syslog, where lower is worse; others are taken for INFO."""
    known = [decoded(level=level)["levelno"] for level in range(8)]
    assert known == [50, 50, 50, 40, 30, 20, 20, 10]
    assert [decoded(level=level)["levelno"] for level in ("4", 4.0)] == [30, 30]
    odd = (8, -1, "x", "", True, None, [3], 1e300, 4.5)
    assert {decoded(level=level)["levelno"] for level in odd} == {20}


@pytest.mark.parametrize(
    "members",
    [
        {"facility": "shop", "file": "/a/b.py", "line": 7, "_function": "f"},
        {"_logger_name": "shop", "_file": "/a/b.py", "_line": 7, "_func": "f"},
        {"_logger": "shop", "_file": "/a/b.py", "_line": "7", "_function": "f", "facility": "x"},
    ],
)
def test_call_sites(members: dict[str, Any]) -> None:
    """The names of graypy, of pygelf, and of others."""
    found = decoded(**members)
    assert (found["name"], found["pathname"], found["funcName"]) == ("shop", "/a/b.py", "f")
    assert (found["filename"], found["module"]) == ("b.py", "b")


def test_other_fields_are_extras() -> None:
    """Without the underscore; names of a record keep one behind."""
    found = decoded(_user="ann", _n=1.5, plain="p", _name="n", _empty=None, _map={"a": [1]})
    assert (found["user"], found["n"], found["plain"], found["name_"]) == ("ann", 1.5, "p", "n")
    assert found["map"] == {"a": [1]}
    assert "empty" not in found


def test_long_texts() -> None:
    """A traceback is one, a longer text is the message, and another text is kept."""
    traceback = "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"
    assert decoded(full_message=traceback)["exc_text"] == traceback.rstrip()
    assert decoded(full_message="hi, and more")["message"] == "hi, and more"
    assert decoded(full_message="other")["full_message"] == "other"
    assert decoded(full_message="other")["message"] == "hi"
    assert "full_message" not in decoded(full_message="hi")
    assert decoded(full_message=["x"])["message"] == "hi"


def test_compressions() -> None:
    """Plain, zlib and gzip, told by the first bytes."""
    plain = json.dumps(SMALLEST).encode()
    for body in (plain, b" \n" + plain, zlib.compress(plain), gzip.compress(plain)):
        assert decode(body).getMessage() == "hi"


def reason(body: bytes, limits: DecodeLimits = LIMITS) -> Reason:
    with pytest.raises(DecodeError) as caught:
        decode(body, limits)
    return caught.value.reason


def test_hostile_bodies() -> None:
    """Bombs, garbage behind a stream, streams without an end, and what is no JSON."""
    whole = gzip.compress(json.dumps(SMALLEST).encode())
    assert reason(gzip.compress(b'"' + b"a" * 10_000_000 + b'"')) == Reason.INFLATE_LIMIT
    assert reason(whole + b"x") == Reason.CODEC
    assert reason(whole + whole) == Reason.CODEC
    assert reason(whole[:-1]) == Reason.CODEC
    assert reason(b"\x1f\x8b") == Reason.CODEC
    assert reason(b"{") == Reason.JSON
    assert reason(b'{"short_message":' + b"[" * 100 + b"]" * 100 + b"}") == Reason.JSON
    assert reason(gzip.compress(b"[]")) == Reason.SHAPE


def test_only_where_it_is_wanted() -> None:
    """A datagram that names this codec on the wire is refused without the setting."""
    assert reason(json.dumps(SMALLEST).encode(), DecodeLimits()) == Reason.CODEC


def test_rows_stay_rows() -> None:
    """A compressed object that is no GELF is read as a row."""
    assert decode(zlib.compress(b'{"message":"row","level":"error"}')).levelno == 40
