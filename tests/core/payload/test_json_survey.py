"""A JSON text is charged for what is in it, and refused where it is too deep, unparsed."""

from __future__ import annotations

import json

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import Budget, Price
from batchudp_handler.core.payload.json_survey import charge_text
from batchudp_handler.core.payload.limits import DecodeLimits


def deep(depth: int) -> bytes:
    """Arrays in arrays."""
    return b"[" * depth + b"]" * depth


def refusal(body: bytes, work: int = DecodeLimits().work, depth: int = 64) -> Reason | None:
    """Why a text is refused; None if it is not."""
    try:
        charge_text(body, Budget(DecodeLimits(work=work)), depth)
    except DecodeError as error:
        return error.reason
    return None


def cost(body: bytes) -> int:
    """The least work that has to be allowed for a text."""
    low, high = 0, DecodeLimits().work
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if refusal(body, middle) is None else (middle + 1, high)
    return low


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        (deep(64), True),
        (deep(65), False),
        (b'["' + b"[" * 1_000 + b'",' + deep(63) + b"]", True),
        (rb'["\"' + b"[" * 1_000 + rb"\\" + b'",' + deep(63) + b"]", True),
        (rb'["\\",' + deep(63) + b',"' + b"[" * 99 + b'"]', True),
        (b'{"a":[{"b":' * 21 + b"[]" + b"}]}" * 21, True),
        (b'{"a":[{"b":' * 22 + b"[]" + b"}]}" * 22, False),
        (b"[" + b"[[1],2]," * 2_000 + deep(63) + b"]", True),
        (b"[" + b"[[1],2]," * 2_000 + deep(64) + b"]", False),
    ],
    ids=range(9),
)
def test_depth_is_counted_outside_of_strings(body: bytes, is_taken: bool) -> None:
    """The limit is exact."""
    json.loads(body)
    assert refusal(body) is (None if is_taken else Reason.JSON)


@pytest.mark.parametrize("bushes", [1, 3, 400])
def test_width_is_no_depth(bushes: int) -> None:
    """However many deep arrays stand beside each other, the deepest of them counts."""
    body = b"[" + b",".join([deep(7)] * bushes) + b"]"
    assert refusal(body, depth=8) is None
    assert refusal(body, depth=7) is Reason.JSON


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"null", 0),
        (b"[1,2,3]", Price.CONTAINER + 2 * Price.VALUE),
        (b'{"a":{"b":1}}', 2 * Price.CONTAINER + 2 * Price.VALUE),
        (rb'"\n\\"', 3 * Price.ESCAPE),
        ('"\x7f\x85"'.encode(), 2 * Price.CONTROL),
    ],
    ids=["scalar", "array", "objects", "escapes", "control characters"],
)
def test_what_a_text_is_charged(body: bytes, parts: int) -> None:
    """Its bytes, and on top whatever takes longer than a byte: to parse, or later to print."""
    assert cost(body) == len(body) * Price.BYTE + parts


@pytest.mark.parametrize("text", ["[[[{{{,,,:::", '"[,\\"[,\\\\', "[" * 500 + '\\\\"'])
def test_a_text_in_a_string_is_charged_as_text(text: str) -> None:
    """Logged JSON makes no values, so only its bytes and escapes count."""
    body = json.dumps(text).encode()
    assert cost(body) == len(body) * Price.BYTE + body.count(b"\\") * Price.ESCAPE


def test_a_deep_text_is_refused_for_its_depth_before_it_is_charged() -> None:
    """The reason says what is wrong with it, though it could not pay either."""
    body = deep(500)
    bytes_only = len(body) * Price.BYTE
    assert refusal(body, bytes_only) is Reason.JSON
    assert refusal(body, bytes_only - 1) is Reason.WORK_LIMIT


def test_depth_beyond_the_first_look_is_charged_first() -> None:
    """Looking for it takes work in proportion to the text, and whoever cannot pay is refused."""
    body = b"[" + b"[]," * 2_000 + deep(64) + b"]"
    assert refusal(body) is Reason.JSON
    assert refusal(body, len(body) * Price.BYTE) is Reason.WORK_LIMIT


@pytest.mark.parametrize("body", [b"", b"]", b"]]]][[[[", b'"', b'{"a', b"\xff[", b'"\\'])
def test_what_is_no_json_is_left_to_the_parser(body: bytes) -> None:
    """The look decides about cost and depth, and raises nothing else."""
    assert refusal(body, depth=8) is None
    assert refusal(body * 3, depth=0) in (None, Reason.JSON)
