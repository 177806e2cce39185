"""Kept values as those see them who read JSON."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from batchudp_handler.core.records.json_form import json_form
from batchudp_handler.core.records.shown import shown

INFINITE = float("inf")

FORMS: dict[str, tuple[Any, Any]] = {
    "text": ("a", "a"),
    "integer": (5, 5),
    "truth": (True, True),
    "nothing": (None, None),
    "float": (2.5, 2.5),
    "infinite": (INFINITE, "inf"),
    "not-a-number": (-(INFINITE - INFINITE), "nan"),
    "list": ([1, [2]], [1, [2]]),
    "tuple": ((1, (2,)), [1, [2]]),
    "set": ({1}, [1]),
    "frozenset": (frozenset({"a"}), ["a"]),
    "dict": ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
    "bytes": (b"\xff", "b'\\xff'"),
    "bytearray": (bytearray(b"a"), "bytearray(b'a')"),
    "date": (date(2026, 1, 2), "2026-01-02"),
    "decimal": ([Decimal("1.50")], ["1.50"]),
    "enum-member": (shown("red", "Colour.RED", "<Colour.RED: 'red'>"), "Colour.RED"),
    "integer-of-an-enum": (shown(80, "80", "<Port.HTTP: 80>"), 80),
    "infinite-of-an-enum": (shown(INFINITE, "inf", "<Bound.NONE: inf>"), "inf"),
    "object": (shown("<here>", "<here>", "<here>"), "<here>"),
    "object-with-fields": (shown({"x": (1,)}, "P(x=(1,))", "P(x=(1,))"), {"x": [1]}),
    "named-tuple": (shown((1, 2), "P(x=1, y=2)", "P(x=1, y=2)"), [1, 2]),
    "list-of-its-own": (shown([1], "mine", "mine"), [1]),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_value_keeps_the_type_that_json_has_for_it(name: str) -> None:
    """What JSON has no type for is its text, and `json` takes every result."""
    value, form = FORMS[name]
    made = json_form(value)
    assert (made, type(made)) == (form, type(form))
    json.dumps(made, allow_nan=False)


def test_texts_are_made_as_asked() -> None:
    """At any depth, of dates and the like alone."""
    value = {"at": date(2026, 1, 2), "in": shown([Decimal(1), 5], "x", "x")}
    assert json_form(value, text_of=repr) == {
        "at": "datetime.date(2026, 1, 2)",
        "in": ["Decimal('1')", 5],
    }


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        ({1: "int", "1": "text"}, {"1_": "int", "1": "text"}),
        ({"1": "text", 1: "int"}, {"1": "text", "1_": "int"}),
        ({1: "int", "1": "text", "1_": "other"}, {"1__": "int", "1": "text", "1_": "other"}),
        ({1: "int", Decimal("1.0000"): "same"}, {"1": "same"}),
        (
            {date(2026, 1, 2): 1, shown("d", "2026-01-02", "d"): 2},
            {"2026-01-02": 1, "2026-01-02_": 2},
        ),
    ],
    ids=["texts", "taken-later", "taken-before", "taken-twice", "one-key", "two-objects"],
)
def test_no_two_keys_become_one(value: dict[Any, Any], members: dict[str, Any]) -> None:
    """A key that is a text keeps its name, whichever comes first."""
    assert json_form(value) == members
