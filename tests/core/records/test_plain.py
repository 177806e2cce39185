"""Whatever stands in a record's attributes, a snapshot is made of exact values."""

from __future__ import annotations

import logging
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest

from batchudp_handler.core.payload.compact import encode_compact
from batchudp_handler.core.records.arrival import Arrival
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.plain import (
    MAX_EXTRAS,
    additions,
    complete,
    exception_text,
    optional_text,
    plain_place,
)
from batchudp_handler.core.records.record_names import (
    ORIGIN_NAMES,
    SITE_NAMES,
    STANDARD,
    get_place,
)
from batchudp_handler.core.records.safe import TEXT_CHARACTERS
from batchudp_handler.core.records.shown import SHOWN, base_value
from batchudp_handler.core.records.snapshot import capture, completed
from batchudp_handler.core.records.weight import LIGHT, Long
from tests.odd import Odd, odd_objects

EXACT = {str, int, float, bool, type(None), *SHOWN}
FIELDS = [
    *(*SITE_NAMES, *ORIGIN_NAMES, "created", "msecs", "relativeCreated", "msg", "args"),
    *("exc_info", "exc_text", "stack_info", "an_extra", "hostname"),
]


def types_in(value: Any) -> set[type]:
    """The exact types of all that a value is made of."""
    if type(value) is Typed:
        return types_in(value.value)
    if type(value) in SHOWN:
        return {type(value)} | types_in(base_value(value))
    if type(value) in {tuple, Long, list, set, frozenset}:
        return set().union(*map(types_in, value))
    if type(value) is dict:
        return types_in([*value.keys(), *value.values()])
    return {type(value)}


def taken(near: logging.LogRecord) -> Any:
    made = capture(near, lambda exc_info: "text", False)
    assert made is not None
    return made


@pytest.mark.parametrize("field", FIELDS)
def test_no_odd_object_gets_into_a_snapshot(field: str) -> None:
    """Not for any type that it has or says it has, whatever its methods do."""
    for odd in odd_objects(Odd()):
        near = logging.LogRecord("near", 20, "p.py", 1, "text", (), None)
        near.__dict__[field] = odd
        made = taken(near)
        assert types_in(made) <= EXACT
        assert type(made[1]) is int
        encode_compact(completed([made]), BatchHeader("host"))


@pytest.mark.parametrize("name", ["a name", ""])
def test_an_odd_name_of_an_attribute_becomes_text(name: str) -> None:
    """Keys of a record's dictionary may be anything, too."""

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            return str.__eq__(self, other)

    for key in (Name(name), 5, ("a", "tuple"), None):
        near = logging.LogRecord("near", 20, "p.py", 1, "text", (), None)
        near.__dict__[key] = 1  # type: ignore[index]
        made = taken(near)
        assert types_in(made) <= EXACT
        assert made[21] == {str(key): 1}


def test_attributes_may_be_a_dict_of_another_kind() -> None:
    """What its methods say does not count where a record is not plain."""

    class Lying(dict[str, Any]):
        def __len__(self) -> int:
            return 0

    near = logging.LogRecord("near", 20, "p.py", 1, "text", (), None)
    near.__dict__ = Lying(near.__dict__, user="u")
    assert taken(near)[21] == {"user": "u"}


# Extras


def attributes(**extras: Any) -> dict[str, Any]:
    return vars(logging.LogRecord("near", 20, "p.py", 1, "text", (), None)) | extras


@pytest.mark.parametrize(
    ("extras", "is_long"),
    [
        ({"user": "ada", "number": 5, "none": None}, False),
        ({"user": "x" * LIGHT}, False),
        ({"user": "x" * (LIGHT + 1)}, True),
        ({"x" * (LIGHT + 1): 1}, True),
        ({"short": "x", "user": "x" * (LIGHT + 1), "last": 1}, True),
    ],
    ids=["short", "just-short", "long", "long-name", "long-between"],
)
def test_scalar_extras_are_taken_as_they_are(extras: dict[str, Any], is_long: bool) -> None:
    """And whoever takes them sees in passing whether there is a long text."""
    assert additions(attributes(**extras)) == (extras, None, 0, is_long)


def test_other_extras_are_kept_and_may_be_long() -> None:
    """Nobody looks into them for the length of a text."""
    changing = [1]
    extras, *_, is_long = additions(attributes(items=changing, user="ada"))
    changing.append(2)
    assert extras == {"items": [1], "user": "ada"}
    assert is_long


def test_too_many_extras_are_left_out_and_counted() -> None:
    """As many as receivers take remain, the last of which says how many are missing."""
    names = [f"x{number}" for number in range(MAX_EXTRAS + 1)]
    extras, *_ = additions(attributes(**dict.fromkeys(names, 1)))
    assert extras is not None
    assert len(extras) == MAX_EXTRAS
    assert [*extras][:-1] == names[: MAX_EXTRAS - 1]
    assert extras["omitted_extras"] == 2
    exact, *_ = additions(attributes(**dict.fromkeys(names[1:], 1)))
    assert exact == dict.fromkeys(names[1:], 1)


KNOWN = Arrival("first", ("192.0.2.1", 5), 7.25, True, 2, frozenset({"received"}))
CONVENIENCES = {"hostname": "first", "hops": 2, "received": "by hand", "remote_addr": "a"}


def test_what_a_receiver_knows_is_no_extra() -> None:
    """Except where an extra has hidden it; host name and hops are those of the first sender."""
    given = attributes(user="ada", **CONVENIENCES)
    assert additions(given, KNOWN) == ({"user": "ada", "received": "by hand"}, "first", 2, True)
    bare = attributes(hostname="first", hops=2)
    assert additions(bare, KNOWN) == (None, "first", 2, True)


def test_in_a_record_of_the_programs_own_class_it_is_an_attribute() -> None:
    """Where the record itself holds it, an attribute of its name is an extra."""
    inside = attributes(batchudp=KNOWN, **CONVENIENCES)
    assert additions(inside) == ({"received": "by hand"}, "first", 2, True)
    extra = attributes(batchudp="an extra")
    assert additions(extra, KNOWN) == ({"batchudp": "an extra"}, "first", 2, True)
    assert additions(extra)[:3] == ({"batchudp": "an extra"}, None, 0)


# Texts


class Truthless:
    """Nobody can say whether it is there."""

    def __bool__(self) -> bool:
        raise ZeroDivisionError

    def __str__(self) -> str:
        return "its text"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        (0, None),
        ([], None),
        ("stack", "stack"),
        (5, "5"),
        (["frame"], "['frame']"),
        (Truthless(), "its text"),
    ],
    ids=["none", "empty", "zero", "no-items", "text", "number", "list", "truthless"],
)
def test_a_text_that_may_be_missing(value: object, text: str | None) -> None:
    """What is false is none, as it is for formatters."""
    assert optional_text(value) == text
    assert exception_text(None, value, repr) == text


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("cached", ["cached", Text("cached")], ids=["exact", "subclass"])
def test_the_cached_text_of_an_exception_wins(cached: str) -> None:
    """Formatters print it, and so nothing is formatted."""

    def never(exc_info: object) -> object:
        raise AssertionError

    text = exception_text((None, None, None), cached, never)
    assert (text, type(text)) == ("cached", str)


@pytest.mark.parametrize("is_cached", [True, False], ids=["cached", "formatted"])
def test_a_long_traceback_keeps_its_end(is_cached: bool) -> None:
    """That is where the exception itself stands."""
    long = "first\n" + "x" * 2 * TEXT_CHARACTERS + "\nlast"
    text = exception_text(5, long if is_cached else None, lambda exc_info: long)
    assert text is not None
    assert (text[:5], text[-4:]) == ("first", "last")
    assert "truncated" in text
    assert len(text) <= TEXT_CHARACTERS


def test_a_formatter_may_leave_an_exception_out() -> None:
    """An empty text is none."""
    assert exception_text((None, None, None), None, lambda exc_info: "") is None


# Attributes that are missing, and numbers


def test_a_record_is_completed() -> None:
    """Every standard attribute is there, under exact names, and what was given counts."""
    whole = complete({"msg": "given", 5: "odd", Text("user"): "ada"})
    assert {*whole} >= STANDARD
    assert (whole["msg"], whole["5"], whole["user"], whole["name"]) == (
        "given",
        "odd",
        "ada",
        "root",
    )
    assert {*map(type, whole)} == {str}
    with pytest.raises(TypeError):
        complete([])


class Line(IntEnum):
    ONE = 1


class Ratio(float):
    pass


class Indexed:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (Indexed(), 7),
        (Decimal("1.5"), 1.5),
        (object(), None),
        (Line.ONE, 1),
        (Ratio(0.5), 0.5),
        (None, None),
    ],
    ids=["indexed", "decimal", "object", "integer", "float", "none"],
)
def test_a_number_is_what_an_object_stands_for(line: object, number: float | None) -> None:
    """None where it stands for none."""
    place = plain_place(get_place(complete(attributes(lineno=line))))
    found = place[SITE_NAMES.index("lineno")]
    assert (found, type(found)) == (number, type(number))
