"""Any object as those see it who read JSON, in bounds."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from enum import Enum, IntEnum
from typing import Any

import pytest

from batchudp_handler.core.records.kept import json_safe
from batchudp_handler.core.records.safe import EXTRA_CHARACTERS

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = "red"


class Port(IntEnum):
    HTTP = 80


class Name(str):
    __slots__ = ()


class Evil(dict[str, object]):
    def items(self) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (5, 5),
        (True, True),
        (2.5, 2.5),
        (None, None),
        ([1, [2]], [1, [2]]),
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        (OrderedDict(a=1), {"a": 1}),
        ({1: 2, None: 3, (1,): 4}, {"1": 2, "None": 3, "(1,)": 4}),
        (Port.HTTP, 80),
        (Colour.RED, "Colour.RED"),
        (Name("n"), "n"),
        (b"\x00", "b'\\x00'"),
        (bytearray(b"a"), "bytearray(b'a')"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({1}, [1]),
        ([Colour.RED], ["Colour.RED"]),
        (10**299, 10**299),
        (10**400, str(10**400)),
        (Evil(a=1), {"a": 1}),
    ],
    ids=repr,
)
def test_types_that_json_knows_are_kept(value: object, expected: object) -> None:
    """What `json` would take keeps its type, subclasses too; the rest becomes its text."""
    assert json_safe(value) == expected
    json.dumps(json_safe(value), allow_nan=False)


def test_cycles_end() -> None:
    """A container inside itself is shown as `repr` shows it."""
    circle: list[object] = [1]
    circle.append(circle)
    mapping: dict[str, object] = {}
    mapping["self"] = [mapping]
    assert json_safe(circle) == [1, "[...]"]
    assert json_safe(mapping) == {"self": ["{...}"]}


def test_same_object_twice_is_no_cycle() -> None:
    """Only ancestors count."""
    shared = [1]
    assert json_safe([shared, shared]) == [[1], [1]]


def test_depth_is_bounded() -> None:
    """Below a depth there is a summary."""
    value: object = 1
    for _ in range(100):
        value = [value]
    text = json.dumps(json_safe(value))
    assert "<list of 1 items>" in text
    assert text.count("[") < 20


@pytest.mark.parametrize(
    "value",
    [
        "x" * 100_000,
        ["x" * 100] * 10_000,
        {f"k{i}": "v" * 50 for i in range(10_000)},
        list(range(100_000)),
        {"k" * 100_000: 1},
        b"x" * 100_000,
    ],
    ids=["text", "texts", "mapping", "numbers", "key", "bytes"],
)
def test_size_is_bounded_and_says_so(value: object) -> None:
    """Whatever is too large is cut, with a marker."""
    text = json.dumps(json_safe(value), ensure_ascii=False)
    assert len(text) < 2 * EXTRA_CHARACTERS
    assert "truncated" in text or "more items" in text


def test_placeholder_for_an_object_without_text() -> None:
    """An error in user code costs the text of the object only."""

    class Broken:
        def __repr__(self) -> str:
            raise MemoryError

    assert json_safe([1, Broken()]) == [1, "<unprintable Broken object>"]
