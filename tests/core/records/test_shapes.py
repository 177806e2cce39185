"""Messages that are structures, and arguments that are a mapping."""

from __future__ import annotations

from typing import Any

import pytest

from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.shapes import LIGHT_ITEMS, light_shape, message_shape, with_text
from batchudp_handler.core.records.weight import LIGHT

CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


class Own(dict[str, Any]):
    pass


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ({}, None),
        ({"a": 1, "b": [True, None, {"c": 2.5}]}, ()),
        ([1, "x", []], ()),
        ("%(a)s", {"a": {"b": "c"}}),
    ],
)
def test_a_small_plain_structure_is_copied(message: object, args: object) -> None:
    """Nothing that changes afterwards shows."""
    copies = light_shape(message, args)
    assert copies == (message, args or ())
    assert copies is not None
    for copy, original in zip(copies, (message, args), strict=True):
        assert copy is not original or type(original) in {str, tuple}


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("text", ()),
        (5, ()),
        ((1, 2), ()),
        (Own(a=1), ()),
        ({1: 2}, ()),
        ({"x" * (LIGHT + 1): 1}, ()),
        ({"a": "x" * (LIGHT + 1)}, ()),
        ({"a": (1,)}, ()),
        ({"a": Own()}, ()),
        ({"a": [{"b": object()}]}, ()),
        ([1] * LIGHT_ITEMS, ()),
        ([[1] * 20] * 4, ()),
        (CIRCLE, ()),
        ({"a": 1}, ("args",)),
        ({"a": 1}, {"a": 1}),
        ("%(a)s", {}),
        ("%(a)s", Own(a=1)),
        ("%(a)s", {"a": object()}),
        ("x" * (LIGHT + 1), {"a": 1}),
        ("%s", [1]),
    ],
    ids=range(20),
)
def test_anything_else_takes_the_long_way(message: object, args: object) -> None:
    """Other types and large ones are looked at with care."""
    assert light_shape(message, args) is None


def test_the_text_is_that_of_the_near_side() -> None:
    """Also where the format string does not fit, or a number has no end."""
    assert with_text({"a": 1}, ())[0] == "{'a': 1}"
    assert with_text("%(a)s", {"a": "x"})[0] == "x"
    assert with_text("%(b)s", {"a": "x"})[0] == "%(b)s {'a': 'x'}"
    assert with_text([10**5_000], ())[0] == "<unprintable list object> []"


@pytest.mark.parametrize(
    ("message", "args", "shape"),
    [
        ((1, {2}), (), ((1, {2}), ())),
        ([], None, ([], ())),
        ("%(a)s", {"a": (1,)}, ("%(a)s", {"a": (1,)})),
        ("%(a)s", {}, None),
        (5, {"a": 1}, None),
        ("x" * 2_000, {"a": 1}, None),
        ("text", (), None),
        ([1], (1,), None),
        ([1], [1], None),
        ([0] * 5_000, (), None),
    ],
    ids=range(10),
)
def test_any_structure_is_kept_with_its_types(message: object, args: object, shape: Any) -> None:
    """Unless it has to be cut, or is none."""
    made = message_shape(message, args)
    assert (made.value if type(made) is Typed else made) == shape


class Made(dict[str, Any]):
    """Gives what it does not hold, as the atoms of gunicorn do."""

    def __getitem__(self, name: str) -> Any:
        return dict.get(self, name.lower(), "-")


class Raising(dict[str, Any]):
    def __getitem__(self, name: str) -> Any:
        raise ZeroDivisionError


def test_a_mapping_that_makes_up_values_gives_those_that_the_message_names() -> None:
    """What it holds travels as well, except for headers that are not shown."""
    args = Made({"h": "1.2.3.4", "{cookie}i": "secret", "{host}i": "example"})
    made = message_shape("%(h)s %(x)s %({Host}i)s", args)
    assert made is not None
    _, mapping = made.value
    assert mapping == {"h": "1.2.3.4", "x": "-", "{Host}i": "example"}
    assert type(mapping) is dict


def test_a_mapping_that_raises_has_no_values() -> None:
    """Its record is rendered on the near side, which shows what could not be printed."""
    made = message_shape("%(a)s", Raising(a=1))
    assert made is not None
    assert made.value == ("%(a)s", None)
