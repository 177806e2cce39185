"""Objects of the user's, and the standard values that they stand for."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import pytest

from batchudp_handler.core.records.objects import field_names, is_of_numpy, scalar_of, texts


class Lying(type):
    """Raises whatever its classes are asked."""

    def __getattribute__(cls, name: str) -> Any:
        raise ZeroDivisionError


# Texts


class Counting:
    """Counts how often its text is made."""

    def __init__(self) -> None:
        self.calls = 0

    def __repr__(self) -> str:
        self.calls += 1
        return f"made {self.calls} times"


def test_one_text_is_made_once() -> None:
    """Where an object has no `__str__` its `__repr__` is asked for a single time."""
    assert texts(Counting()) == ("made 1 times", "made 1 times")


class Both:
    def __str__(self) -> str:
        return "text"

    def __repr__(self) -> str:
        return "representation"


class Same:
    def __repr__(self) -> str:
        return "same"

    __str__ = __repr__


class Broken:
    def __str__(self) -> str:
        return "text"

    def __repr__(self) -> str:
        raise ZeroDivisionError


class Below(Both):
    __repr__ = object.__repr__

    def __str__(self) -> str:
        return "below"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Both(), ("text", "representation")),
        (Same(), ("same", "same")),
        (Broken(), ("text", "<unprintable Broken object>")),
        (5, ("5", "5")),
        ("a", ("a", "'a'")),
    ],
    ids=["both", "same", "broken", "number", "text"],
)
def test_both_texts_of_an_object(value: object, expected: tuple[str, str]) -> None:
    """As `str` and `repr` give them, each contained."""
    assert texts(value) == expected


def test_methods_of_base_classes_count() -> None:
    """The nearest class decides, as it does for Python."""
    value = Below()
    assert texts(value) == ("below", repr(value))


def test_a_metaclass_is_not_asked() -> None:
    """Whatever it makes of reading the attributes of its classes."""

    class Odd(metaclass=Lying):
        def __repr__(self) -> str:
            return "odd"

    assert texts(Odd()) == ("odd", "odd")
    assert scalar_of(Odd()) is None
    assert field_names(Odd) == []
    assert not is_of_numpy(Odd())


# Scalars


class Colour(Enum):
    RED = "red"
    NOTHING = ()
    HALF = 0.5


class Overridden(Enum):
    ONE = 1

    @property
    def value(self) -> Any:
        raise ZeroDivisionError


class Port(IntEnum):
    HTTP = 80


class Level(int):
    def __int__(self) -> int:
        raise ZeroDivisionError


class Ratio(float):
    def __float__(self) -> float:
        raise ZeroDivisionError


class Name(str):
    __slots__ = ()


class Masked(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "***"


class Raising(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise ZeroDivisionError


Generic: Any = type("generic", (), {"__module__": "numpy", "item": lambda self: self.held})


class Held(Generic):  # type: ignore[misc]  # made above
    """A scalar as those of numpy are."""

    def __init__(self, held: object) -> None:
        self.held = held


class Empty(Generic):  # type: ignore[misc]  # made above
    def item(self) -> object:
        raise ZeroDivisionError


SCALARS: dict[str, tuple[object, object]] = {
    "enum-text": (Colour.RED, "red"),
    "enum-float": (Colour.HALF, 0.5),
    "enum-other": (Colour.NOTHING, None),
    "enum-overridden": (Overridden.ONE, 1),
    "enum-integer": (Port.HTTP, 80),
    "integer": (Level(5), 5),
    "float": (Ratio(2.5), 2.5),
    "text": (Name("n"), "n"),
    "text-that-hides": (Masked("password"), None),
    "text-that-raises": (Raising("password"), None),
    "numpy": (Held(5), 5),
    "numpy-raises": (Empty(), None),
    "object": (object(), None),
}


@pytest.mark.parametrize("name", SCALARS)
def test_the_scalar_that_an_object_stands_for(name: str) -> None:
    """Of the exact type, read past the object's own methods; None where there is none."""
    value, scalar = SCALARS[name]
    assert (scalar_of(value), type(scalar_of(value))) == (scalar, type(scalar))


def test_only_a_class_of_numpy_is_one() -> None:
    """Its name or its module alone do not make it."""
    assert is_of_numpy(Held(1))
    assert is_of_numpy(Generic())
    assert not is_of_numpy(type("generic", (), {})())
    assert not is_of_numpy(type("array", (), {"__module__": "numpy"})())
    assert not is_of_numpy(5)


# Fields


@dataclass
class Order:
    number: int
    paid: bool = False


class Express(Order):
    """Inherits the fields."""


def declaring(**attributes: object) -> type:
    return type("Declaring", (), attributes)


ATTRIBUTE = SimpleNamespace(name="x")
FIELDS: dict[str, tuple[type, list[str]]] = {
    "dataclass": (Order, ["number", "paid"]),
    "inherited": (Express, ["number", "paid"]),
    "attrs": (declaring(__attrs_attrs__=(ATTRIBUTE,)), ["x"]),
    "pydantic": (declaring(__pydantic_fields__={"y": 1}), ["y"]),
    "pydantic-2.0": (declaring(model_fields={"y": 1}), ["y"]),
    "pydantic-1": (declaring(__fields__={"y": 1}), ["y"]),
    "none": (object, []),
    "no-fields": (make_dataclass("Nothing", []), []),
    "first-of-two": (declaring(__dataclass_fields__={}, model_fields={"y": 1}), ["y"]),
    "names-that-are-no-text": (declaring(model_fields={5: 1, Name("n"): 2, "y": 3}), ["y"]),
    "not-to-be-read": (declaring(model_fields=5), []),
    "no-attribute-of-attrs": (declaring(__attrs_attrs__=(object(),)), []),
}


@pytest.mark.parametrize("name", FIELDS)
def test_the_fields_that_a_class_declares(name: str) -> None:
    """Those of its bases too; a declaration that cannot be read has none."""
    kind, names = FIELDS[name]
    assert field_names(kind) == names
