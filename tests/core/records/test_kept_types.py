"""Kept values are of the types of the originals, or stand for them and print as they do."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, namedtuple
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from batchudp_handler.core.records.kept import (
    MAX_DEPTH,
    MAX_NODES,
    Typed,
    json_safe,
    keep,
    keep_whole,
)

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = "red"


class Port(IntEnum):
    HTTP = 80


def kept(value: object) -> Any:
    """What stays of a value, with its type."""
    made = keep(value)
    return made.value if type(made) is Typed else made


EXACT = [
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, tzinfo=UTC, fold=1),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2), "here")),
    date(2026, 1, 2),
    time(3, 4, 5),
    timedelta(-1, 5, 7),
    Decimal("1.50"),
    Decimal("-Infinity"),
    Fraction(1, 3),
    UUID(int=5),
    b"\xff",
    bytearray(b"ab"),
    1 - 2j,
    range(0, 10, 2),
    PurePosixPath("/a/b"),
    PureWindowsPath("C:\\a"),
    IPv4Address("192.0.2.1"),
    IPv6Address("2001:db8::1"),
    (1, "a"),
    {1},
    frozenset({2}),
    {1: "int", "1": "text", None: 2, (1, 2): 3, True + 1: 4},
    [[datetime(2026, 1, 2)], {"a": (Decimal(1),)}],
    float("inf"),
]


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_types_of_the_standard_library_are_kept(value: object) -> None:
    """A value equals the original, is of exactly its type, and prints as it does."""
    made = kept(value)
    assert (made, type(made), repr(made)) == (value, type(value), repr(value))


class Level(int):
    __slots__ = ()

    def __str__(self) -> str:
        return "a level"


@dataclass
class Order:
    number: int
    paid: Decimal
    secret: str = field(repr=False, default="s3cret")


class Masked(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    __repr__ = __str__


STAND_FOR = [
    (Colour.RED, "red"),
    (Port.HTTP, 80),
    (Level(5), 5),
    (Order(1, Decimal("2.50")), {"number": 1, "paid": Decimal("2.50")}),
    (Point(1, (2,)), (1, (2,))),
    (OrderedDict(a=1), {"a": 1}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (ValueError("bad", 1), "('bad', 1)"),
    (Masked("password"), "***"),
    (object, "<class 'object'>"),
    (10**400, str(10**400)),
    (Decimal("1E+400"), "1E+400"),
    (Decimal("sNaN"), "sNaN"),
]


@pytest.mark.parametrize(("value", "stands_for"), STAND_FOR, ids=repr)
@pytest.mark.parametrize(
    "wrap", [lambda value: value, lambda value: [value]], ids=["", "in a list"]
)
def test_other_objects_stand_for_values_and_print_as_they_do(
    value: object, stands_for: object, wrap: Any
) -> None:
    """It is the value for those who want one, and has the object's texts for all others."""
    near, far = wrap(value), kept(wrap(value))
    assert far == wrap(stands_for)
    assert (str(far), f"{far}") == (str(near), f"{near}")
    if type(near) is list or str(near) != repr(near):
        assert repr(far) == repr(near) or str(far) == str(near)


def test_a_field_that_an_object_hides_does_not_travel() -> None:
    """No more of an object is kept than its own text shows."""
    assert "s3cret" not in json.dumps(json_safe(Order(1, Decimal(2))))

    @dataclass(repr=False)
    class Credentials:
        password: str = "p4ssword"

    assert "p4ssword" not in repr(kept(Credentials()))
    assert "password" not in json.dumps(json_safe(Masked("password")))


def test_a_zone_becomes_its_offset() -> None:
    """A zone runs code and reads files, so only the offset and its name are kept."""
    made = kept(datetime(2026, 7, 2, 3, 4, tzinfo=ZoneInfo("Europe/Berlin")))
    assert type(made.tzinfo) is timezone
    assert (str(made), f"{made:%Z}") == ("2026-07-02 03:04:00+02:00", "CEST")


def test_sets_print_in_the_order_in_which_they_did() -> None:
    """The order of texts in a set differs from process to process."""
    near = set(map(str, range(50)))
    assert repr(kept(near)) == repr(near)
    assert kept(near) == near


def test_no_two_keys_become_one() -> None:
    """Different objects may stand for equal values, or have the same text."""

    class Key:
        def __repr__(self) -> str:
            return "key"

    near = {Key(): 1, Key(): 2, "key": 3, 1: 4, "1": 5}
    assert sorted(kept(near).values()) == [1, 2, 3, 4, 5]
    assert sorted(json_safe(near).values()) == [1, 2, 3, 4, 5]  # type: ignore[union-attr]


@dataclass(frozen=True)
class Place:
    row: int


def test_an_object_as_a_key_prints_as_it_did() -> None:
    """What it stands for may be something that cannot be a key; then its text is the key."""
    near = {Place(1): "a", Place(2): "b", "Place(row=1)": "c"}
    far = kept(near)
    assert [*far.values()] == ["a", "b", "c"]
    assert [repr(key) for key in far][:2] == ["Place(row=1)", "Place(row=2)"]
    assert json_safe({Place(1): "a"}) == {"Place(row=1)": "a"}


def test_an_object_in_the_depth_is_its_text() -> None:
    """Nobody looks further into it."""
    value: object = Order(1, Decimal(2))
    for _ in range(MAX_DEPTH):
        value = [value]
    innermost = kept(value)
    for _ in range(MAX_DEPTH):
        [innermost] = innermost
    assert innermost == str(innermost) == repr(Order(1, Decimal(2)))


def test_the_number_of_fields_is_bounded() -> None:
    """They count as items of a container do, and one that has too many is not whole."""
    large = make_dataclass("Large", [f"field{number}" for number in range(MAX_NODES + 1)])
    value = large(*range(MAX_NODES + 1))
    assert len(kept(value)) == MAX_NODES
    assert keep_whole(value, 10**6) is None
    small = make_dataclass("Small", ["field"])(1)
    assert keep_whole(small, 10**6).value == {"field": 1}  # type: ignore[union-attr]


def test_what_has_to_be_cut_is_not_whole() -> None:
    """A shape is kept only if nothing is missing."""
    assert keep_whole({"a": [1]}, 100).value == {"a": [1]}  # type: ignore[union-attr]
    for value in ("x" * 101, list(range(2_000)), {"a": "x" * 101}):
        assert keep_whole(value, 100) is None


def test_scalars_of_numpy_are_their_items() -> None:
    """Numbers of Python, exactly where they print the same."""
    numpy: Any = pytest.importorskip("numpy")
    for value, item in ((numpy.int64(5), 5), (numpy.float32(1.5), 1.5), (numpy.bool_(True), True)):
        assert (kept(value), type(kept(value))) == (item, type(item))
        assert kept([value]) == [item]
    assert repr(kept([numpy.int64(5)])) == repr([numpy.int64(5)])
    assert str(kept(numpy.arange(3))) == "[0 1 2]"


class Generic:
    """A scalar as those of numpy are, for where it is not installed."""

    def __init__(self, item: object, text: str) -> None:
        self.item = lambda: item
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"np.{self.text}_"


Generic.__name__, Generic.__module__ = "generic", "numpy"


def test_an_item_that_prints_otherwise_is_the_text_of_its_scalar() -> None:
    """A truth or a date cannot print as anything but itself."""
    moment = datetime(2026, 1, 2)
    assert kept([Generic(True, "True")]) == [True]
    assert kept([Generic(moment, str(moment))]) == [moment]
    for near in (Generic(moment, "2026-01-02T00:00"), Generic(True, "yes")):
        [far] = kept([near])
        assert (far, str(far), repr(far)) == (str(near), str(near), repr(near))


def test_attrs_and_pydantic_are_their_fields() -> None:
    """As long as their texts show them."""
    attrs = pytest.importorskip("attrs")
    pydantic = pytest.importorskip("pydantic")
    made = attrs.make_class("Made", ["x"])(5)
    model = pydantic.create_model("Model", y=(int, 6), z=(pydantic.SecretStr, ...))(z="s3cret")
    assert (kept(made), str(kept(made))) == ({"x": 5}, str(made))
    assert (kept(model)["y"], str(kept(model))) == (6, str(model))
    assert "s3cret" not in repr(json_safe(model))


def test_what_is_kept_can_be_kept_again() -> None:
    """A relay takes what it was given, and it prints the same after that."""
    for value, _ in STAND_FOR:
        once = kept([value])
        assert repr(kept(once)) == repr(once)
