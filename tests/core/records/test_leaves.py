"""The types that arrive as what they were."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PureWindowsPath
from typing import Any

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
