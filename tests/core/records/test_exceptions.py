"""Exceptions described, and made again of their descriptions."""

from __future__ import annotations

import pickle
import sys
import traceback
from typing import Any

import pytest

from batchudp_handler.core.records.exceptions import MAX_EXCEPTIONS, describe
from batchudp_handler.core.records.remote_error import (
    RemoteError,
    RemoteTraceback,
    exceptions_in,
    restore,
)


class OwnError(Exception):
    """Not known to the far side."""


def raised(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError


def restored(error: BaseException) -> BaseException:
    text = "".join(traceback.format_exception(error))
    made = restore(describe((type(error), error, error.__traceback__)), text)
    assert made is not None
    assert made[0] is type(made[1])
    return made[1]


def chained() -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        raise OwnError("second") from error


def in_between() -> None:
    try:
        raise KeyError("first")
    except KeyError:
        raise OwnError("second")  # noqa: B904  # that is the point


def alone() -> None:
    try:
        raise KeyError("first")
    except KeyError:
        raise OwnError("second") from None


def test_class_and_text_are_those_of_the_original() -> None:
    """The class has the name and the module, and is made here."""
    error = restored(OwnError("text"))
    kind = type(error)
    assert (kind.__qualname__, kind.__name__, kind.__module__) == (
        OwnError.__qualname__,
        "OwnError",
        __name__,
    )
    assert kind is not OwnError
    assert isinstance(error, RemoteError)
    assert str(error) == "text"
    assert type(restored(OwnError("other"))) is kind


def test_the_first_cause_prints_the_traceback() -> None:
    """As `concurrent.futures` does it."""
    error = restored(raised(lambda: 1 / 0))
    assert isinstance(error.__cause__, RemoteTraceback)
    printed = "".join(traceback.format_exception(error))
    assert "in <lambda>" in printed
    assert printed.rstrip().endswith("ZeroDivisionError: division by zero")


def test_causes_and_contexts_are_kept() -> None:
    """What `raise from` said, what was being handled, and what was hidden."""
    explicit = restored(raised(chained))
    assert (type(explicit.__cause__).__name__, str(explicit.__cause__)) == ("KeyError", "'first'")
    assert isinstance(explicit.__cause__.__cause__, RemoteTraceback)  # type: ignore[union-attr]
    implicit = restored(raised(in_between))
    assert implicit.__cause__ is None
    assert type(implicit.__context__).__name__ == "KeyError"
    assert isinstance(restored(raised(alone)).__cause__, RemoteTraceback)


def test_a_module_that_is_no_text_is_left_out() -> None:
    """Whatever it does when it is compared."""

    class Odd:
        def __eq__(self, _other: object) -> bool:
            raise LookupError

        __hash__ = None  # type: ignore[assignment]

    odd = type("OddError", (Exception,), {"__module__": Odd()})
    described = describe(odd("text"))
    assert described == {"name": "OddError", "text": "text"}


def test_groups_and_notes_are_kept() -> None:
    """A group holds its members; notes are printed behind the text."""
    group = ExceptionGroup("several", [ValueError("a"), ExceptionGroup("more", [KeyError("b")])])
    group.add_note("while testing")
    error = restored(group)
    assert isinstance(error, ExceptionGroup)
    assert str(error) == "several (2 sub-exceptions)"
    assert [str(each) for each in error.exceptions] == ["a", "more (1 sub-exception)"]
    assert error.__notes__ == ["while testing"]
    assert "KeyError: 'b'" in "".join(traceback.format_exception(error))


def test_nothing_that_ends_a_program_is_restored() -> None:
    """Whoever raises it again does not end the receiver."""
    for error in (SystemExit(1), KeyboardInterrupt()):
        assert isinstance(restored(error), Exception)
    assert isinstance(restored(BaseExceptionGroup("x", [SystemExit()])), Exception)


def test_a_restored_exception_can_be_pickled() -> None:
    """As a plain one: its class can be found nowhere."""
    error = pickle.loads(pickle.dumps(restored(OwnError("text"))))  # our own
    assert (type(error), str(error)) == (Exception, "OwnError: text")


def test_descriptions_are_bounded() -> None:
    """Long chains, large groups, long texts and circles end."""
    error: BaseException = ValueError("x" * 100_000)
    for number in range(100):
        above = ValueError(number)
        above.__cause__ = error
        error = above
    error.__cause__.__cause__ = error  # type: ignore[union-attr]
    assert exceptions_in(describe((ValueError, error, None))) == 2
    group = ExceptionGroup("many", [ValueError(number) for number in range(1_000)])
    description = describe(group)
    assert exceptions_in(description) == MAX_EXCEPTIONS
    assert len(str(describe(ValueError("x" * 100_000)))) < 20_000


@pytest.mark.parametrize("exc_info", [None, (None, None, None), 5, "text", (1, 2, 3), ()])
def test_what_holds_no_exception_has_no_description(exc_info: object) -> None:
    """`exc_info` may be anything."""
    assert describe(exc_info) is None


class Rude(Exception):
    """Answers no question."""

    def __str__(self) -> str:
        raise ZeroDivisionError


for _name in ("__cause__", "__notes__", "__suppress_context__"):
    setattr(Rude, _name, property(Rude.__str__))


def test_an_exception_that_raises_is_described_all_the_same() -> None:
    """By its name at least."""
    made = restore(describe(Rude()), "text")
    assert made is not None
    assert str(made[1]) == "<unprintable Rude object>"


HOSTILE = [
    {"name": "os.system", "module": "os", "text": "x"},
    {"name": "a\0b", "module": "\0", "text": 5, "notes": [1, None], "cause": [], "group": "x"},
    {"name": "", "module": 5, "notes": "text", "group": [1, {}, []]},
    {"name": "x" * 1_000, "context": {"context": {"context": {}}}},
    {"group": [{"group": [{"group": [{}] * 50}] * 50}] * 50},
]


@pytest.mark.parametrize("description", HOSTILE, ids=range(len(HOSTILE)))
def test_any_description_makes_an_exception_of_ours(description: Any) -> None:
    """No name is looked up, nothing is imported, nothing raises, and the number is bounded."""
    modules = set(sys.modules)
    made = restore(description, "text")
    assert made is not None
    assert isinstance(made[1], RemoteError)
    assert "".join(traceback.format_exception(made[1]))
    assert set(sys.modules) == modules


@pytest.mark.parametrize("description", [None, [], "text", 5])
def test_what_is_no_description_makes_nothing(description: object) -> None:
    """Anything may come from the network."""
    assert restore(description, None) is None
    assert exceptions_in(description) == 0


def test_no_traceback_no_cause() -> None:
    """Where no text came along there is nothing to show."""
    made = restore({"name": "E"}, None)
    assert made is not None
    assert made[1].__cause__ is None
