"""JSON written and read between ends that do not trust each other.

Written: compact, UTF-8, without NaN; a lone surrogate becomes its `\\ud800` escape, which is what
`backslashreplace` makes of it too.

Read: strict UTF-8 first (`json.loads` of bytes would also take UTF-16), then bounded. Python's
parser would take NaN and numbers that no conversion can print, and would hand out lone surrogates
that no file can store. Looking at every value costs more than parsing does, so the text is looked
at instead: a few searches at memory speed say whether it could hold anything of the kind, and only
then the slow and careful way is taken.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import Price
from batchudp_handler.core.payload.json_survey import charge_text

if TYPE_CHECKING:
    from batchudp_handler.core.payload.budget import Budget

__all__ = ["MAX_DIGITS", "dumps", "encode_with_escapes", "has_long_number", "loads"]

MAX_DIGITS = 300
"""Digits of a whole number: a float can still take it, so every conversion can print it."""

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)
dumps = _encoder.encode
"""JSON text of a value that holds no cycle; raises ValueError for NaN and infinities."""

_FLATTEN = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * (MAX_DIGITS + 1)
_EXPONENTS = (b"e000", b"e+000")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PAIR = re.compile("[\ud800-\udbff](?=[\udc00-\udfff])")
_ESCAPE = re.compile(
    r"\\(?:u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|([dD][89a-fA-F][0-9a-fA-F]{2}))|.)",
    re.DOTALL,
)


def encode_with_escapes(text: str) -> bytes:
    """JSON text in UTF-8, where lone surrogates in it become escapes that stay lone."""
    text = _PAIR.sub(lambda match: f"\\\\u{ord(match[0]):x}", text)
    return text.encode("utf-8", "backslashreplace")


def has_long_number(body: bytes) -> bool:
    """Whether there may be a number in the text that is too long to travel."""
    return _LONG in body.translate(_FLATTEN)


def loads(body: bytes, budget: Budget, depth: int) -> Any:
    """Parse a JSON text from the network.

    Args:
        body: The text.
        budget: What is charged for it, before it is parsed.
        depth: How deep it may be nested.

    Returns:
        Its value: every float is finite and every int has at most `MAX_DIGITS` digits (others
        are given as the text they were), and every `str` can be encoded.

    Raises:
        DecodeError: The text is not JSON in UTF-8, is nested too deeply, or costs too much.
    """
    charge_text(body, budget, depth)
    try:
        text = body.decode()
        if _SURROGATE.search(text):
            budget.work(body.count(b"\\") * Price.SURROGATE)
            text = _ESCAPE.sub(_escaped, text)
        flat = body.translate(_FLATTEN)
        if _LONG in flat or any(exponent in flat for exponent in _EXPONENTS):
            budget.work((body.count(b",") + body.count(b":")) * Price.CAREFUL_VALUE)
            return _careful.decode(text)
        return _plain.decode(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DecodeError(Reason.JSON, type(error).__name__) from None


def _escaped(match: re.Match[str]) -> str:
    """A lone surrogate as text; every other escape as it is."""
    lone = match[1]
    return f"\\\\u{lone.lower()}" if lone else match[0]


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) else digits


# NaN, Infinity and -Infinity are handed out as these words
_plain = json.JSONDecoder(parse_constant=str)
_careful = json.JSONDecoder(parse_constant=str, parse_int=_integer, parse_float=_float)
