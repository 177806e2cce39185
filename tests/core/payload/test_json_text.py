"""JSON from the network, and to it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload import json_text
from batchudp_handler.core.payload.budget import Budget
from batchudp_handler.core.payload.json_text import (
    MAX_DIGITS,
    dumps,
    encode_with_escapes,
    has_long_number,
)
from batchudp_handler.core.payload.limits import DecodeLimits


def loads(body: bytes) -> Any:
    """Parse with the usual limits."""
    return json_text.loads(body, Budget(DecodeLimits()), DecodeLimits().json_depth)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**100), 10**100),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8")),
    ),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@given(json_values)
def test_what_is_written_is_read(value: Any) -> None:
    """Any JSON value survives, floats to the last bit."""
    text = encode_with_escapes(dumps(value))
    assert loads(text) == loads(json.dumps(value).encode())


@example("\ud83d\ude00")
@example("\ud83d\ud83d\ude00\\\udfff")
@given(st.text(st.characters(exclude_categories=()) | st.sampled_from("\ud800\udbff\udc00\\u")))
def test_lone_surrogates_are_read_as_backslashreplace_prints_them(text: str) -> None:
    """However a text was escaped, it can be encoded afterwards and reads the same."""
    expected = text.encode("utf-8", "backslashreplace").decode()
    assert loads(encode_with_escapes(dumps(text))) == expected


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud83d"', "\\ud83d"),
        (rb'"\uD83Dx"', "\\ud83dx"),
        (rb'"\\ud83d"', "\\ud83d"),
        (rb'"\\\ud83d"', "\\\\ud83d"),
        (rb'"\ude00\ud83d"', "\\ude00\\ud83d"),
        (rb'"\ud83d\ud83d\ude00"', "\\ud83d\U0001f600"),
        (rb'"\ud83d\n\/\u0041"', "\\ud83d\n/A"),
        (rb'{"\udfff": 1}', {"\\udfff": 1}),
    ],
)
def test_escapes(body: bytes, value: Any) -> None:
    """Pairs are joined, lone halves become text, escaped backslashes are no escapes."""
    assert loads(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":}',
        b"\xff\xfe[\x00]\x00",
        "[1]".encode("utf-16"),
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf[]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[1] x",
        b"'a'",
    ],
    ids=range(11),
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """One reason for all: other encodings, bad syntax, no end of nesting."""
    with pytest.raises(DecodeError) as caught:
        loads(body)
    assert caught.value.reason is Reason.JSON


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"NaN", "NaN"),
        (b"[Infinity,-Infinity]", ["Infinity", "-Infinity"]),
        (b"1e999", "1e999"),
        (b"-1E+400", "-1E+400"),
        (b"1e0000400", "1e0000400"),
        (b"1" * 301, "1" * 301),
        (b"1" * 5000, "1" * 5000),
        (b"1" * 400 + b".5", "1" * 400 + ".5"),
        (b"1e308", 1e308),
        (b"1e-999", 0.0),
        (b"9" * 300, int("9" * 300)),
        (b"1" * 290 + b"e1", float("1" * 290 + "e1")),
    ],
    ids=range(12),
)
def test_numbers_that_could_raise_later_are_read_as_text(body: bytes, value: Any) -> None:
    """Every number that comes out is finite and can be printed by every conversion."""
    assert loads(body) == value


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,6})?\Z"))
def test_no_number_escapes(text: str) -> None:
    """For any number that JSON can spell, the result is harmless."""
    value = loads(f"[{text}]".encode())[0]
    assert isinstance(value, str) or math.isfinite(float(value))


def test_long_numbers_are_noticed_before_they_are_sent() -> None:
    """The encoder asks the same question as the decoder."""
    assert not has_long_number(b"[" + b"9" * MAX_DIGITS + b"]")
    assert has_long_number(b"[" + b"9" * (MAX_DIGITS + 1) + b"]")
