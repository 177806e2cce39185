"""Snapshots in which every field can travel."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from batchudp_handler.core.records import snapshot as places
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.portable import (
    LAST_SECOND,
    MAX_ARGS,
    MAX_INTEGER,
    MAX_LEVELNO,
    MAX_NAME,
    MAX_TEMPLATE,
    is_portable_place,
    is_shippable_template,
    portable_header,
    portable_snapshot,
)


def snapshot(**fields: Any) -> list[Any]:
    near = logging.LogRecord(
        "a", 20, "p.py", 1, fields.pop("msg", "text"), fields.pop("args", ()), None
    )
    taken = places.snapshot(near, format_exception=str)
    made = list(taken or ())
    for name, value in fields.items():
        made[getattr(places, name)] = value
    return made


@pytest.mark.parametrize(
    ("field", "value", "portable"),
    [
        ("LEVELNO", 10**9, MAX_LEVELNO),
        ("LEVELNO", "x", 0),
        ("LINENO", MAX_INTEGER, None),
        ("PROCESS", -5, -5),
        ("NAME", "n" * 300, "n" * (MAX_NAME - 3) + "..."),
        ("NAME", 5, "5"),
        ("PATHNAME", "p" * 5_000, "p" * 4_093 + "..."),
        ("FUNCNAME", None, None),
        ("CREATED", float("nan"), 0.0),
        ("CREATED", 1e299, float(LAST_SECOND)),
        ("CREATED", "now", 0.0),
        ("MSECS", 5_000.0, pytest.approx(0, abs=1_000)),
        ("RELATIVE", 1e20, 0.0),
        ("EXTRAS", {5: float("nan")}, {"5": "nan"}),
    ],
)
def test_each_field_gets_a_value_that_receivers_take(
    field: str, value: object, portable: object
) -> None:
    """Of an exact type, and not larger than they allow."""
    made = portable_snapshot(tuple(snapshot(**{field: value})))
    result = made[getattr(places, field)]
    if field == "EXTRAS":
        result = {name: item.json for name, item in result.items()}
    assert result == portable
    assert is_portable_place(made[: places.CREATED])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NAME", "n" * 300),
        ("NAME", None),
        ("LEVELNO", MAX_LEVELNO + 1),
        ("LINENO", MAX_INTEGER),
        ("PATHNAME", "p" * 5_000),
    ],
)
def test_a_place_that_receivers_refuse_is_noticed(field: str, value: object) -> None:
    """So the fast path of the encoders is left."""
    assert not is_portable_place(tuple(snapshot(**{field: value})[: places.CREATED]))


@pytest.mark.parametrize("argument", ["\ud800", float("inf"), 10**400])
def test_an_argument_that_cannot_travel_renders_its_record(argument: object) -> None:
    """Nothing that would print differently goes with its template."""
    made = portable_snapshot(tuple(snapshot(msg="got %s", args=(argument,))))
    assert made[places.TEMPLATE] is None
    assert made[places.VALUES].startswith("got ")
    template = portable_snapshot(tuple(snapshot(msg="\ud800 %s", args=(None,))))
    assert template[places.TEMPLATE] is None
    good = portable_snapshot(tuple(snapshot(msg="got %s", args=("x",))))
    assert good[places.TEMPLATE] == "got %s"


def test_a_header_is_text_and_json() -> None:
    """Whatever it was made of."""
    made = portable_header(BatchHeader("h" * 300, {"a": float("nan")}))
    assert made == BatchHeader("h" * 252 + "...", {"a": "nan"})


@pytest.mark.parametrize(
    ("template", "nargs", "shippable"),
    [
        ("got %s", 1, True),
        ("%s" * MAX_ARGS, MAX_ARGS, True),
        ("%s" * (MAX_ARGS + 1), MAX_ARGS + 1, False),
        ("x" * MAX_TEMPLATE, 0, True),
        ("x" * (MAX_TEMPLATE + 1), 0, False),
        ("%*d", 2, False),
        ("%c", 1, False),
    ],
    ids=["usual", "most-args", "too-many-args", "longest", "too-long", "width", "character"],
)
def test_a_template_that_receivers_take(template: str, nargs: int, shippable: bool) -> None:
    """Of bounded size, and what it prints is bounded, too."""
    assert is_shippable_template(template, nargs) is shippable
