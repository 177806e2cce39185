"""Values from the network become attributes only where their type and size allow it."""

from __future__ import annotations

from typing import Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import Budget, Price
from batchudp_handler.core.payload.checks import REFUSED, Checks
from batchudp_handler.core.payload.limits import DecodeLimits

LIMITS = DecodeLimits(
    text_characters=50, extra_characters=20, name_characters=10, extras=2, extra_depth=2
)
LARGE = 1_000
"""Bytes of a payload in which every limit can be exceeded."""
NO_TEXTS = [None, 5, 1.5, True, ["a"], {"a": 1}, b"a"]


def checks(size: int = LARGE, limits: DecodeLimits = LIMITS) -> Checks:
    return Checks(limits, Budget(limits), size)


# Texts


@pytest.mark.parametrize("value", NO_TEXTS, ids=repr)
def test_what_is_no_text_is_none(value: object) -> None:
    """Nothing is converted: a formatter gets a `str` or the value is left out."""
    for size in (1, LARGE):
        check = checks(size)
        assert (check.name(value), check.text(value), check.traceback(value)) == (None,) * 3
        assert check.word(value) == "None"
        assert check.truncated == 0


def test_a_text_of_the_largest_size_is_kept() -> None:
    """The limits are the largest sizes, of each kind of text."""
    check = checks()
    assert check.name("n" * 10) == check.word("n" * 10) == "n" * 10
    assert check.name("n" * 30, 30) == "n" * 30
    assert check.text("t" * 50) == check.traceback("t" * 50) == "t" * 50
    assert check.extra("e" * 20) == "e" * 20
    assert check.truncated == 0


def test_a_longer_text_is_cut_and_counted() -> None:
    """The beginning matters, but of a traceback the end does as well."""
    check = checks()
    assert check.name("n" * 11) == "n" * 10 + "… [truncated 1 characters]"
    assert check.name("n" * 11, 5) == "n" * 5 + "… [truncated 6 characters]"
    assert check.text("t" * 60) == "t" * 50 + "… [truncated 10 characters]"
    assert check.extra("e" * 21) == "e" * 20 + "… [truncated 1 characters]"
    cut = check.traceback("t" * 60 + "KeyError: 5")
    assert cut is not None
    assert cut.endswith("KeyError: 5")
    assert "truncated" in cut
    assert check.truncated == 5


def test_no_text_is_longer_than_its_payload() -> None:
    """So the sizes of texts are looked at only where one could be too long."""
    check = checks(50)
    text, args = "t" * 50, ("t" * 50, 5)
    assert check.text(text) is text
    assert check.traceback(text) is text
    assert check.args(args) is args


def test_the_texts_among_arguments_are_cut() -> None:
    """Scalars of other types stay what they are."""
    check = checks()
    assert check.args(["a" * 51, 5, 1.5, None, True]) == [
        *("a" * 50 + "… [truncated 1 characters]", 5, 1.5, None, True)
    ]
    assert check.truncated == 1


# Numbers


@pytest.mark.parametrize("value", [True, None, "5", 5.0, [5], 1 << 64, -(1 << 64)], ids=repr)
def test_what_is_no_whole_number_of_a_usual_size_is_none(value: object) -> None:
    """A bool neither: `%d` would print it as a number that nobody logged."""
    assert checks().integer(value) is None
    assert checks().levelno(value) is None


def test_the_largest_numbers() -> None:
    """Ids have up to 64 bits; levels are far smaller, of either sign."""
    check = checks()
    most = (1 << 64) - 1
    assert (check.integer(most), check.integer(-most)) == (most, -most)
    assert [check.levelno(level) for level in (10**6, -(10**6))] == [10**6, -(10**6)]
    assert [check.levelno(level) for level in (10**6 + 1, -(10**6) - 1)] == [None, None]


@pytest.mark.parametrize(
    ("kind", "allowed", "refused"),
    [
        ("seconds", [0, 1.5, 253_370_764_799], [-1, 253_370_764_800]),
        ("msecs", [0, 999.5], [-0.5, 1000, 1000.0]),
        ("relative", [-1e15, 0, 1e15], [-1.1e15, 1.1e15]),
    ],
)
def test_times_are_within_what_formatters_can_show(
    kind: str, allowed: list[float], refused: list[float]
) -> None:
    """`asctime` raises outside of them; other types, bools and NaN are no times."""
    check = getattr(Checks, kind)
    assert [check(value) for value in allowed] == allowed
    assert {type(check(value)) for value in allowed} == {float}
    no_numbers = [True, None, "1", [1], float("nan"), float("inf")]
    assert {check(value) for value in (*refused, *no_numbers)} == {None}


# Extras


@pytest.mark.parametrize("value", [None, True, 10**30, 1.5, [], {}, [["x" * 8]], {"a": {"b": 1}}])
def test_an_extra_within_the_limits_is_kept(value: Any) -> None:
    """As it is, whatever its type in JSON."""
    check = checks()
    assert check.extra(value) is value
    assert check.fields_refused == 0


@pytest.mark.parametrize(
    "value", [[[[]]], {"a": {"b": {}}}, ["x" * 19], {"k" * 19: None}, [1, 2, 3]], ids=repr
)
def test_an_extra_that_is_too_deep_or_too_large_is_refused(value: Any) -> None:
    """A structure is not cut, because what is left of it would be another."""
    check = checks()
    assert check.extra(value) is REFUSED
    assert check.fields_refused == 1


def test_a_column_of_extras() -> None:
    """Refused values keep their place, so that the others stay with their records."""
    check = checks()
    assert list(check.extras([1, [[[]]], "x" * 21])) == [
        *(1, REFUSED, "x" * 20 + "… [truncated 1 characters]")
    ]
    assert (check.fields_refused, check.truncated) == (1, 1)


def test_a_column_of_scalars_in_a_small_payload_is_not_looked_through() -> None:
    """None of them can be too large; a structure can be too deep in any payload."""
    check = checks(20)
    scalars: list[Any] = ["a", 1, None]
    assert check.extras(scalars) is scalars
    assert list(check.extras([1, [[[]]]])) == [1, REFUSED]


def test_fields_of_an_object() -> None:
    """Each under the attribute that it may become; what cannot be one is counted."""
    check = checks(limits=DecodeLimits(extra_depth=1))
    given = {"user": 5, "name": "x", "": 1, "line\n": 2, "deep": [[[1]]]}
    assert check.object(given) == {"user": 5, "name_": "x"}
    assert check.fields_refused == 3


def test_an_object_has_only_so_many_fields() -> None:
    """The first are kept, and those that have no room are counted."""
    check = checks()
    assert check.object({"": 0, "a": 1, "b": 2, "c": 3, "d": 4}) == {"a": 1, "b": 2}
    assert check.fields_refused == 3


@pytest.mark.parametrize(("value", "refused"), [(None, 0), ([], 1), ("x", 1), (False, 1)])
def test_what_is_no_object_has_no_fields(value: object, refused: int) -> None:
    """It is counted, except for null, which says nothing."""
    check = checks()
    assert check.object(value) == {}
    assert check.fields_refused == refused


def test_every_field_is_charged() -> None:
    """Also those that are refused, which take as long to look at."""
    limits = DecodeLimits(work=3 * Price.MEMBER)
    allowed = {"a": 1, "": 2, "b": 3}
    assert checks(limits=limits).object(allowed) == {"a": 1, "b": 3}
    with pytest.raises(DecodeError) as caught:
        checks(limits=limits).object({**allowed, "c": 4})
    assert caught.value.reason is Reason.WORK_LIMIT
