"""Exceptions made of descriptions, which may say anything."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import Any

import pytest

from batchudp_handler.core.records.exceptions import MAX_DEPTH, MAX_EXCEPTIONS
from batchudp_handler.core.records.remote_error import (
    MAX_NAME,
    RemoteError,
    RemoteTraceback,
    exceptions_in,
    restore,
)

KEY_ERROR = {"name": "KeyError", "text": "'a'"}


def restored(description: object, text: str | None = None) -> Any:
    made = restore(description, text)
    assert made is not None
    kind, error, _ = made
    assert kind is type(error)
    return error


def nested(depth: int, link: str) -> dict[str, Any]:
    """A description of exceptions in a row."""
    innermost: dict[str, Any] = {"text": "innermost"}
    for _ in range(depth - 1):
        innermost = {link: [innermost] if link == "group" else innermost}
    return innermost


def chain_of(error: BaseException, link: str) -> list[BaseException]:
    found = [error]
    while (following := getattr(found[-1], link)) is not None:
        found.append(following)
    return found


# One exception


def test_it_has_name_module_and_text_of_the_original() -> None:
    """And derives from `RemoteError` alone, so no handler of the program's catches it by class."""
    error = restored({"name": "Shop.PaymentError", "module": "shop.errors", "text": "declined"})
    kind = type(error)
    assert (kind.__module__, kind.__qualname__, kind.__name__, str(error)) == (
        *("shop.errors", "Shop.PaymentError"),
        *("PaymentError", "declined"),
    )
    assert kind.__bases__ == (RemoteError,)
    assert not isinstance(restored(KEY_ERROR), KeyError)


def test_it_prints_as_it_did_on_the_far_side() -> None:
    """With its notes behind it, and the module of builtins left out."""
    error = restored({**KEY_ERROR, "notes": ["first", "second"]})
    assert traceback.format_exception_only(error) == ["KeyError: 'a'\n", "first\n", "second\n"]


def test_the_same_kind_has_the_same_class() -> None:
    """Tools group exceptions by it."""
    assert type(restored(KEY_ERROR)) is type(restored({**KEY_ERROR, "text": "'b'"}))
    assert type(restored(KEY_ERROR)) is not type(restored({**KEY_ERROR, "module": "own"}))


def test_it_looks_raised() -> None:
    """Tools take an exception without a traceback for one that was never raised."""
    made = restore(KEY_ERROR, None)
    assert made is not None
    assert made[2] is made[1].__traceback__ is not None


def test_it_is_pickled_as_a_plain_exception() -> None:
    """Nobody could import its class by its name."""
    pickled = pickle.dumps(restored({"name": "Shop.PaymentError", "module": "shop", "text": "no"}))
    assert b"batchudp_handler" not in pickled
    error = pickle.loads(pickled)  # our own
    assert (type(error), str(error)) == (Exception, "Shop.PaymentError: no")


@pytest.mark.parametrize("description", [None, 5, "KeyError", [KEY_ERROR], True])
def test_what_describes_no_exception_makes_none(description: object) -> None:
    """It comes from the network."""
    assert restore(description, "Traceback") is None
    assert exceptions_in(description) == 0


@pytest.mark.parametrize("odd", [None, 5, "", "a\nb", "n" * (MAX_NAME + 1), ["KeyError"]])
def test_a_name_that_is_none_is_left_out(odd: object) -> None:
    """The exception arrives as one that says nothing of its class."""
    kind = type(restored({"name": odd, "module": odd, "text": "a"}))
    assert (kind.__module__, kind.__qualname__) == ("builtins", "Exception")
    longest = "n" * MAX_NAME
    assert type(restored({"name": longest})).__name__ == longest


@pytest.mark.parametrize("odd", [None, 5, {"a": 1}, [1]])
def test_members_of_other_types_are_left_out(odd: object) -> None:
    """Whatever stands in their place, the rest arrives."""
    error = restored({"text": odd, "notes": odd, "cause": 5, "context": [1], "group": {"a": 1}})
    assert str(error) == ""
    assert all(type(note) is str for note in getattr(error, "__notes__", []))
    assert error.__cause__ is error.__context__ is None
    assert type(error).__bases__ == (RemoteError,)


# Chains and groups


def test_causes_and_contexts_are_linked() -> None:
    """As the far side had them."""
    error = restored({"cause": {"text": "cause"}, "context": {"text": "context"}})
    assert (str(error.__cause__), str(error.__context__)) == ("cause", "context")


def test_a_group_holds_its_members() -> None:
    """It is a group for those who look for one, and still a `RemoteError`."""
    group = restored(
        {"name": "ExceptionGroup", "text": "two", "group": [KEY_ERROR, {"text": "b"}]}
    )
    assert isinstance(group, RemoteError)
    assert isinstance(group, ExceptionGroup)
    assert [str(member) for member in group.exceptions] == ["'a'", "b"]
    assert str(group) == "two"


@pytest.mark.parametrize("members", [[], [None, 5]], ids=["empty", "no-exceptions"])
def test_a_group_without_members_is_a_plain_exception(members: list[object]) -> None:
    """Python has no empty group."""
    error = restored({"name": "ExceptionGroup", "text": "none", "group": members})
    assert not isinstance(error, BaseExceptionGroup)
    assert str(error) == "none"


@pytest.mark.parametrize("link", ["cause", "context"])
def test_a_chain_is_bounded(link: str) -> None:
    """However long the description is."""
    error = restored(nested(100, link))
    assert len(chain_of(error, f"__{link}__")) == MAX_DEPTH
    assert exceptions_in(nested(100, link)) == MAX_DEPTH


def test_a_group_is_bounded() -> None:
    """In width and in depth, the group itself counted."""
    wide = {"group": [{"text": "one"}] * 100}
    assert len(restored(wide).exceptions) == MAX_EXCEPTIONS - 1
    error, depth = restored(nested(100, "group")), 1
    while isinstance(error, BaseExceptionGroup):
        error, depth = error.exceptions[0], depth + 1
    assert depth == MAX_DEPTH


@pytest.mark.parametrize(
    ("description", "count"),
    [
        ({}, 1),
        ({"cause": {}, "context": {"context": {}}}, 4),
        ({"group": [{}, {"cause": {}}, 5]}, 4),
        ({"group": "no list"}, 1),
        ({"group": [{}] * 100}, 1 + MAX_EXCEPTIONS),
    ],
    ids=["one", "chain", "group", "no-group", "wide"],
)
def test_how_many_exceptions_a_description_makes(description: object, count: int) -> None:
    """Counted without making them, so that a batch of them can be bounded."""
    assert exceptions_in(description) == count


# Tracebacks


@pytest.mark.parametrize("link", ["cause", "context"])
def test_the_first_cause_of_all_prints_the_traceback_of_the_far_side(link: str) -> None:
    """As `concurrent.futures` shows that of another process."""
    error = restored({**KEY_ERROR, link: {"text": "b", link: {"text": "c"}}}, "Traceback: here")
    first = chain_of(error, f"__{link}__")[2]
    assert isinstance(first.__cause__, RemoteTraceback)
    assert str(first.__cause__) == '\n"""\nTraceback: here\n"""'


@pytest.mark.parametrize("link", ["cause", "context"])
def test_a_formatter_prints_the_traceback_of_the_far_side_first(link: str) -> None:
    """Then what led to the exception, and the exception last, as it would its own."""
    error = restored({**KEY_ERROR, link: {"name": "OSError", "text": "b"}}, "Traceback: here")
    text = logging.Formatter().formatException((type(error), error, None))
    places = [text.index(part) for part in ("Traceback: here", "OSError: b", "KeyError: 'a'")]
    assert places == sorted(places)


@pytest.mark.parametrize("text", [None, ""])
def test_without_a_text_there_is_no_cause(text: str | None) -> None:
    """An empty one would only look like a fault."""
    assert restored(KEY_ERROR, text).__cause__ is None
