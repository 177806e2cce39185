"""Values that equal one thing and print another."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from batchudp_handler.core.records.shown import (
    SHOWN,
    base_value,
    can_be_shown,
    items_of,
    ordered,
    representation,
    shown,
    text,
)

VALUES: dict[str, Any] = {
    "text": "red",
    "integer": 80,
    "float": 2.5,
    "dict": {"a": [1]},
    "list": [1, "a"],
    "tuple": (1, (2,)),
    "set": {1, 2},
    "frozenset": frozenset({1, 2}),
}
KINDS = pytest.mark.parametrize("kind", VALUES)


def made(kind: str) -> Any:
    return shown(VALUES[kind], "its text", "its representation")


@KINDS
def test_it_is_the_value_for_those_who_want_one(kind: str) -> None:
    """It equals the plain one, is an instance of its type, and gives it back."""
    value = made(kind)
    plain = VALUES[kind]
    assert value == plain
    assert isinstance(value, type(plain))
    assert type(value) in SHOWN
    assert (base_value(value), type(base_value(value))) == (plain, type(plain))


@KINDS
def test_it_prints_as_the_object_that_it_stands_for(kind: str) -> None:
    """Wherever a formatter asks for its text, and inside a container."""
    value = made(kind)
    assert (str(value), f"{value}", text(value)) == ("its text",) * 3
    assert (repr(value), f"{value!r}", representation(value)) == ("its representation",) * 3
    template = "%s %r %s"  # as a record has it
    assert template % (value, value, [value]) == "its text its representation [its representation]"


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [(80, "05d", "00080"), (2.5, ".2f", "2.50"), ("red", ">5", "  red")],
    ids=["integer", "float", "text"],
)
def test_a_format_of_its_own_is_that_of_the_value(value: Any, spec: str, expected: str) -> None:
    """As `format` has it for members of enums that are numbers."""
    assert format(shown(value, "its text", "its representation"), spec) == expected


@pytest.mark.parametrize("kind", ["text", "integer", "float", "tuple", "frozenset"])
def test_as_a_key_it_is_the_value(kind: str) -> None:
    """Whoever looks the plain value up finds it."""
    assert {made(kind): 1}[VALUES[kind]] == 1


@pytest.mark.parametrize("kind", ["text", "integer", "float", "dict", "list", "tuple"])
def test_json_takes_it_for_the_value(kind: str) -> None:
    """Encoders for which a subclass of a type is of that type see no difference."""
    assert json.loads(json.dumps(made(kind))) == json.loads(json.dumps(VALUES[kind]))


@KINDS
def test_copies_print_the_same(kind: str) -> None:
    """Handlers that copy a record copy its arguments."""
    value = made(kind)
    assert copy.copy(value) is copy.deepcopy(value) is value


@KINDS
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_it_is_the_plain_value(kind: str, protocol: int) -> None:
    """Who unpickles it need not have this package."""
    pickled = pickle.dumps(made(kind), protocol)
    plain = pickle.loads(pickled)  # our own
    assert b"batchudp_handler" not in pickled
    assert (plain, type(plain)) == (VALUES[kind], type(VALUES[kind]))


def test_only_exact_types_can_be_shown() -> None:
    """Another type has no class here, nor has one that is shown already."""
    assert all(map(can_be_shown, VALUES.values()))
    for value in (True, None, b"", 1j, *map(made, VALUES)):
        assert not can_be_shown(value)


# Sets


@pytest.mark.parametrize(
    ("kind", "expected"), [(set, "{3, 1, 2}"), (frozenset, "frozenset({3, 1, 2})")]
)
def test_a_set_prints_its_items_in_the_given_order(kind: type, expected: str) -> None:
    """It is the same set, and so is what is made of it again."""
    value = ordered(kind, [3, 1, 2])
    assert value == kind([1, 2, 3])
    assert repr(value) == str(value) == expected
    assert items_of(value) == (3, 1, 2)
    assert type(base_value(value)) is kind
    assert pickle.loads(pickle.dumps(value)) == kind([1, 2, 3])  # our own


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_that_prints_so_anyway_is_a_plain_one(kind: type) -> None:
    """Nothing is wrapped without need."""
    assert type(ordered(kind, [])) is type(ordered(kind, [1])) is kind


def test_an_item_given_twice_is_printed_once() -> None:
    """The list may come from the network."""
    assert repr(ordered(set, [2, 1, 2])) == "{2, 1}"


@pytest.mark.parametrize(
    "value", [{1}, frozenset({1}), shown({1}, "a", "a"), {"items": 1}, [1], 5]
)
def test_nothing_else_has_an_order_of_its_own(value: object) -> None:
    """A set that knows none, and what is no set at all."""
    assert items_of(value) is None
