"""The types that arrive as what they were."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

import pytest

from batchudp_handler.core.records.leaves import BY_TAG, leaf_of, with_fixed_offset


@pytest.mark.parametrize("tag", BY_TAG)
def test_each_type_is_found_by_itself_alone(tag: str) -> None:
    """Neither a subclass nor another class of the same name is it."""
    leaf = BY_TAG[tag]
    module = __import__(leaf.module)
    kind = getattr(module, leaf.name)
    assert leaf_of(kind) is leaf
    double = type(leaf.name, (), {})
    assert leaf_of(double) is None
    double.__module__ = leaf.module
    assert leaf_of(double) is None
    double.__module__ = 5  # type: ignore[assignment]
    assert leaf_of(double) is None


def roundtrip(value: Any) -> Any:
    leaf = leaf_of(type(value))
    assert leaf is not None
    return leaf.load(leaf.take_apart(value))


VALUES: dict[str, Any] = {
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    "date": date(2026, 1, 2),
    "time": time(3, 4, 5),
    "timedelta": timedelta(-1, 5, 7),
    "decimal": Decimal("1.50"),
    "fraction": Fraction(-1, 3),
    "complex": complex(-0.0, float("inf")),
    "range": range(10, 0, -2),
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "uuid": UUID(int=5),
    "ip4": IPv4Address("192.0.2.1"),
    "ip6": IPv6Address("2001:db8::1%eth0"),
    "pureposixpath": PurePosixPath("/a/b"),
    "purewindowspath": PureWindowsPath("C:\\a"),
    "path": Path("a", "b"),
}


@pytest.mark.parametrize("name", VALUES)
def test_every_type_arrives_as_what_it_was(name: str) -> None:
    """Of the same type, with the same text, by way of what JSON has types for."""
    value = VALUES[name]
    leaf = leaf_of(type(value))
    assert leaf is not None
    assert leaf.tag in {name, "posixpath", "windowspath"}
    made = leaf.load(json.loads(json.dumps(leaf.take_apart(value))))
    assert (type(made), repr(made)) == (type(value), repr(value))


@pytest.mark.parametrize("tag", BY_TAG)
@pytest.mark.parametrize("odd", [None, [], {}, True, 1.5, "\0"], ids=ascii)
def test_parts_of_another_kind_are_refused(tag: str, odd: Any) -> None:
    """They come from the network, and no type takes any of these."""
    with pytest.raises(ValueError):  # noqa: PT011  # with no text, or that of the constructor
        BY_TAG[tag].load([odd, odd] if tag == "complex" else [odd])


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("date", ["2026-13-01"]),
        ("datetime", ["2026-01-02", "here"]),
        ("datetime", ["2026-01-02T00:00:00+01:00", "x" * 65]),
        ("decimal", ["1" * 1_001]),
        ("uuid", ["5" * 65]),
        ("decimal", ["1E+301"]),
        ("decimal", ["sNaN"]),
        ("fraction", [1, 0]),
        ("fraction", [1 << 997, 1]),
        ("range", [0, 5, 0]),
        ("timedelta", [10**9, 0, 0]),
        ("complex", ["1", 2]),
        ("bytes", ["a"]),
        ("bytes", ["ä==="]),
        ("bytes", ["YW I="]),
        ("uuid", ["5"]),
        ("ip4", ["1.2.3"]),
        ("ip6", ["::g"]),
    ],
)
def test_parts_that_make_no_value_are_refused(tag: str, parts: list[Any]) -> None:
    """With an error of the constructor's, which whoever decodes contains."""
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        BY_TAG[tag].load(parts)


def test_a_uuid_is_one_that_can_travel() -> None:
    """Someone may have put anything into it."""
    forged = UUID(int=5)
    object.__setattr__(forged, "int", "5")
    with pytest.raises(ValueError):  # noqa: PT011  # with no text
        roundtrip(forged)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1), "CET"), fold=1),
        datetime(2026, 1, 2, tzinfo=timezone.utc),  # noqa: UP017  # the other name of it
        time(1, 2, fold=1),
        Decimal("-1.5E-299"),
        Decimal("NaN"),
        Fraction(2, 3),
    ],
    ids=repr,
)
def test_parts_make_the_value_again(value: Any) -> None:
    """With its fold, its zone and all its digits."""
    assert repr(roundtrip(value)) == repr(value)


@pytest.mark.parametrize(
    "value",
    [Decimal("1E301"), Decimal("0E-999"), Decimal("sNaN"), Fraction(10**400), range(10**400)],
    ids=lambda value: repr(value)[:20],
)
def test_what_has_no_bounded_text_does_not_travel(value: Any) -> None:
    """It raises on the near side, or on the far one."""
    with pytest.raises(ValueError):  # noqa: PT011  # with no text
        roundtrip(value)


class Nowhere(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, when: datetime | None) -> str | None:
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None


def test_a_zone_is_an_offset_or_none() -> None:
    """Its own code runs once, on the near side."""
    assert with_fixed_offset(datetime(2026, 1, 2, tzinfo=Nowhere())).tzinfo is None
    assert with_fixed_offset(time(1)).tzinfo is None
    with pytest.raises(ValueError):  # noqa: PT011  # with no text
        roundtrip(datetime(2026, 1, 2, tzinfo=Nowhere()))


def test_a_path_of_another_system_is_a_pure_one() -> None:
    """It cannot be looked for here."""
    foreign = "windowspath" if type(BY_TAG["posixpath"].load(["a"])) is PosixPath else "posixpath"
    made = BY_TAG[foreign].load(["a"])
    assert type(made).__name__ in {"PureWindowsPath", "PurePosixPath"}
    assert str(made) == "a"
    assert BY_TAG["purewindowspath"].load(["C:\\a"]) == PureWindowsPath("C:\\a")
