"""Calls of user code that are contained, and texts and numbers of bounded size."""

from __future__ import annotations

from typing import Any

import pytest

from batchudp_handler.core.records.safe import (
    contained,
    cut,
    cut_middle,
    guarded,
    is_portable_number,
    number_text,
)


def test_nested_calls_are_bounded() -> None:
    """User code that calls us again is not followed without end."""
    calls: list[int] = []

    def function(value: Any) -> str:
        calls.append(value)
        return guarded(function, value + 1)

    assert guarded(function, 0) == "<unprintable int object>"
    assert len(calls) < 10
    assert guarded(str, 5) == "5"


def test_cut_says_how_much_is_missing() -> None:
    """A text within the limit stays; another ends in a marker."""
    assert cut("abc", 3) == "abc"
    assert cut("abcdef", 3) == "abc… [truncated 3 characters]"


def test_a_text_cut_again_says_all_that_is_missing() -> None:
    """However often a text is cut on its way, one marker counts everything."""
    once = cut("x" * 1_000, 100)
    assert cut(once, 100) == once
    assert cut(once, 60) == "x" * 60 + "… [truncated 940 characters]"


@pytest.mark.parametrize(
    ("number", "portable"),
    [
        *((1, True), (True, True), (1.5, True), (10**299, True), (10**300, False)),
        *((-(10**300), False), (float("nan"), False), (float("inf"), False)),
    ],
)
def test_numbers_that_every_conversion_can_print(number: float, portable: bool) -> None:
    """Finite floats, and ints of up to 299 digits."""
    assert is_portable_number(number) is portable


def test_number_of_any_length_has_a_text() -> None:
    """Digits as long as CPython prints them, then hexadecimal."""
    assert number_text(10**400) == str(10**400)
    assert number_text(16**9_000).startswith("0x1000")
    assert "truncated" in number_text(1 << 40_000)


def test_the_end_of_a_long_text_survives_a_cut_in_the_middle() -> None:
    """Beginning and end stay, the result fits, and the marker says what is missing."""
    text = "a" * 500 + "b" * 500 + "the exception"
    short = cut_middle(text, 200)
    assert len(short) <= 200
    assert short.startswith("aaa")
    assert short.endswith("the exception")
    assert "… [truncated 853 characters] …" in short
    assert cut_middle(text, len(text)) == text


def test_a_text_cut_in_its_middle_again_says_all_that_is_missing() -> None:
    """The number of the marker that is cut away counts."""
    text = "".join(map(str, range(1_000)))
    twice = cut_middle(cut_middle(text, 500), 200)
    assert f"[truncated {len(text) - 160} characters]" in twice


def test_what_raises_gives_nothing() -> None:
    """Any `Exception` of user code is contained."""
    assert contained(int, "5") == 5
    assert contained(int, "five") is None
