"""What is taken of a record, and the record that is made of it again."""

from __future__ import annotations

import logging
import sys
from enum import IntEnum
from typing import Any

import pytest

from batchudp_handler.core.records import snapshot as places
from batchudp_handler.core.records.arrival import Arrival, arrival_of
from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.snapshot import MAX_HOPS, capture, completed, render, snapshot
from batchudp_handler.core.records.weight import LIGHT, Long
from tests.core.records.bench import PROVENANCE, exception_text, record, ship, taken


class Custom(logging.LogRecord):
    """A record with a message of its own making."""

    def getMessage(self) -> str:
        return f"custom {self.msg}"


def plain(field: object) -> object:
    return field.value if type(field) is Typed else field


# Taking


@pytest.mark.parametrize(
    "near",
    [
        record("hello"),
        record("%s %d", "a", 1),
        record("%s", None, taskName="t"),
        record("%s", True, extra=[1]),
        record("%s", [1]),
        record("%(a)s", {"a": 1}),
        record(["no text"]),
        record("hello", stack_info="stack", exc_text="Error"),
        Custom("a", 1, "p", 1, "m", (), None),
    ],
)
def test_capturing_in_two_steps(near: logging.LogRecord) -> None:
    """What is captured and completed later is the snapshot that would be taken at once."""
    captured = capture(near, exception_text, False)
    assert captured is not None
    assert list(map(plain, completed([captured])[0])) == list(map(plain, taken(near)))


@pytest.mark.parametrize(
    ("near", "is_long"),
    [
        (record("%s", "x" * LIGHT), False),
        (record("%s %s", 1, "x" * (LIGHT + 1)), True),
        (record("x" * (LIGHT + 1)), True),
        (record("%s", "short", user="ada"), False),
        (record("%s", "x" * (LIGHT + 1), user="ada"), True),
        (record("hello", user="x" * (LIGHT + 1)), True),
        (record("hello", exc_text="Error"), True),
        (record("hello", stack_info="stack"), True),
    ],
    ids=["just", "argument", "message", "extra", "both", "long-extra", "exception", "stack"],
)
def test_a_record_that_may_have_a_long_text_says_so(
    near: logging.LogRecord, is_long: bool
) -> None:
    """It is weighed before it waits, and no other one is."""
    captured = capture(near, exception_text, False)
    assert (type(captured) is Long) is is_long


@pytest.mark.parametrize("has_task", [True, False], ids=["3.12", "3.11"])
def test_a_task_that_somebody_named_is_taken(
    has_task: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `logging` itself names no task, a filter may have done so."""
    monkeypatch.setattr(places, "HAS_TASK", has_task)
    snap = taken(record("hello", user=1, taskName="task"))
    assert snap[places.TASKNAME] == "task"
    assert snap[places.EXTRAS] == {"user": 1}


def test_what_changes_after_the_capture_does_not_count() -> None:
    """A captured record holds what the record said, whatever other handlers make of it."""
    near = record("hello %s", "you")
    expected = taken(near)
    captured = capture(near, exception_text, False)
    near.msg, near.args, near.name, near.asctime = "other", ("me",), "b", "now"
    assert captured is not None
    assert completed([captured]) == [expected]


STANDARD = sorted(vars(logging.LogRecord("", 0, "", 0, "", (), None)))


@pytest.mark.parametrize("extras", [1, 2, 3])
@pytest.mark.parametrize("name", STANDARD)
def test_a_removed_attribute_costs_no_extra(name: str, extras: int) -> None:
    """Whichever attribute a filter takes away, and however many extras there are, all arrive."""
    near = record("hello", **{f"extra{number}": number for number in range(extras)})
    delattr(near, name)
    far = ship(near)
    assert [getattr(far, f"extra{number}") for number in range(extras)] == list(range(extras))
    assert far.getMessage() == ("" if name == "msg" else "hello")


@pytest.mark.parametrize("name", STANDARD)
def test_an_attribute_put_back_at_the_end_is_no_extra(name: str) -> None:
    """The order in which attributes were set does not matter."""
    near = record("hello", user="u")
    value = near.__dict__.pop(name)
    near.__dict__[name] = value
    snap = taken(near)
    assert snap[places.EXTRAS] == {"user": "u"}
    assert snap[:17] == taken(record("hello", user="u"))[:17]


def test_a_custom_record_without_an_attribute_renders_its_own_message() -> None:
    """What was taken away has nothing to do with the message."""
    near = Custom("a", 20, "p", 1, "%s", ("x",), None)
    del near.threadName
    assert render(taken(near)) == "custom %s"


def test_a_message_of_the_record_itself() -> None:
    """`getMessage` may be set on one record, as formatters use it."""
    near = record("hello", getMessage=lambda: "its own")
    assert render(taken(near)) == "its own"


def test_levels_are_exact_numbers() -> None:
    """The buffer compares them, so a level is a whole number whatever the record says."""

    class Level(IntEnum):
        LOW = 1

    for level, expected in ((Level.LOW, 1), (True, 1), (20.0, 20), ("x", 0)):
        captured = capture(record("m", levelno=level), exception_text, False)
        assert captured is not None
        assert captured[1] == expected
        assert type(captured[1]) is int


def test_places_of_a_plain_record() -> None:
    """Twenty-six values, site first, then origin, times, content."""
    near = record("hello")
    snap = taken(near)
    assert len(snap) == 26
    site = ("a.b", 20, "INFO", "/x/y.py", "y.py", "y", 3, "f", None, 0)
    assert snap[places.SITE] == site
    task = getattr(near, "taskName", None)
    who = (near.process, near.processName, near.thread, near.threadName, task, None, 0)
    assert snap[places.ORIGIN] == who
    times = (near.created, near.msecs, near.relativeCreated)
    assert snap[places.CREATED :] == (*times, "hello", *[None] * 5)


@pytest.mark.parametrize("args", [("x",), (1, 2.5), (True, None), (float("nan"),), ("",), (0,)])
def test_scalar_arguments_are_kept(args: tuple[object, ...]) -> None:
    """Template and arguments travel apart when nobody can change them."""
    near = record("%s" * len(args), *args)
    snap = taken(near)
    assert snap[places.TEMPLATE] == near.msg
    assert snap[places.NARGS] == len(args)
    assert snap[places.VALUES] is near.args


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("plain 100%", (), "plain 100%"),
        ("%s", ([1],), "[1]"),
        ("%(a)s", ({"a": 1},), "1"),
        ("%s", (b"x",), "b'x'"),
        (ValueError("v"), (), "v"),
        (5, (), "5"),
        ("%d", ([1],), "%d [[1]]"),
    ],
)
def test_everything_else_is_rendered_at_once(
    message: object, args: tuple[object, ...], text: str
) -> None:
    """Objects become text on the thread that logs, before they can change."""
    snap = taken(record(message, *args))
    assert snap[places.TEMPLATE] is None
    assert snap[places.VALUES] == render(snap) == text


def test_argument_changed_afterwards_does_not_show() -> None:
    """The record says what was the case when it was logged."""
    changing = [1]
    near = record("%s", changing, extra_list=changing)
    snap = taken(near)
    changing.append(2)
    assert render(snap) == "[1]"
    assert snap[places.EXTRAS] == {"extra_list": [1]}


def test_record_is_not_changed() -> None:
    """Other handlers find the record as it was, without cached texts."""
    try:
        raise KeyError("x")
    except KeyError:
        near = record("%s", object(), weird=object())
        near.exc_info = sys.exc_info()
    before = dict(near.__dict__)
    taken(near)
    assert near.__dict__ == before
    assert near.exc_text is None


def test_exception_is_rendered() -> None:
    """A traceback becomes the text that a formatter would print."""
    try:
        raise KeyError("lost")
    except KeyError:
        near = record()
        near.exc_info = sys.exc_info()
    assert taken(near)[places.EXC_TEXT] == exception_text(near.exc_info)


def test_cached_exception_text_wins() -> None:
    """Formatters print `exc_text` where there is one, so it is what travels."""
    near = record(exc_text="cached", exc_info=(None, None, None))
    assert taken(near)[places.EXC_TEXT] == "cached"


def test_formatter_that_raises_costs_its_text_only() -> None:
    """A formatter that raises, or gives no text, costs its own form: the plain one travels."""

    def broken(exc_info: Any) -> str:
        raise ZeroDivisionError

    try:
        raise LookupError("found nothing")
    except LookupError:
        near = record(exc_info=sys.exc_info())
    for formatter in (broken, lambda exc_info: ["a", "list"], lambda exc_info: None):
        snap = snapshot(near, format_exception=formatter)
        assert snap is not None
        assert snap[places.EXC_TEXT].endswith("LookupError: found nothing")
        near.exc_text = ["cached", "by", "another"]  # type: ignore[assignment]


def test_custom_record_class_renders_its_own_message() -> None:
    """`getMessage` of a subclass is what counts; one that inherits it keeps its template."""
    near = Custom("a", 20, "p", 1, "%s", ("x",), None)
    assert render(taken(near)) == "custom %s"

    class Plain(logging.LogRecord):
        pass

    assert taken(Plain("a", 20, "p", 1, "%s", ("x",), None))[places.TEMPLATE] == "%s"


def test_record_with_missing_attributes_is_completed() -> None:
    """A filter that deletes attributes does not make the handler fail."""
    near = record("still here")
    del near.funcName, near.thread
    assert render(taken(near)) == "still here"


@pytest.mark.parametrize("names", [("message", "asctime"), ("message",)])
def test_attributes_of_formatters_are_no_extras(names: tuple[str, ...]) -> None:
    """What another handler's formatter left on the record does not travel."""
    near = record(**dict.fromkeys(names, "x"))
    assert taken(near)[places.EXTRAS] is None
    near.user = 5
    assert taken(near)[places.EXTRAS] == {"user": 5}


def test_extras_in_any_order_of_attributes() -> None:
    """A record whose attributes were set in another order has the same extras."""
    near = logging.makeLogRecord({})
    values = {"user": 1, **near.__dict__}
    near.__dict__.clear()
    near.__dict__.update(values)
    assert taken(near)[places.EXTRAS] == {"user": 1}


def test_number_of_extras_is_bounded() -> None:
    """At most 64 extras travel, and the last says how many did not."""
    extras = taken(record(**{f"x{i}": i for i in range(100)}))[places.EXTRAS]
    assert len(extras) == 64
    assert extras["omitted_extras"] == 37


def test_long_message_is_cut() -> None:
    """A rendered message has a bound, and a marker."""
    text = render(taken(record("%s", ["x" * 1_000_000])))
    assert len(text) < 300_000
    assert "truncated" in text


# Rendering


@pytest.mark.parametrize(
    ("template", "args"),
    [("%d", ("x",)), ("%s %s", (1,)), ("%", (1,)), ("%s", (10**5_000,)), ("%c", (-1,))],
)
def test_rendering_never_raises(template: str, args: tuple[object, ...]) -> None:
    """A template that does not fit is shown, with its arguments."""
    text = render(taken(record(template, *args)))
    assert text.startswith(template + " (")


# Relaying


def test_shipped_record_is_not_shipped_again() -> None:
    """A receiver's records that meet a handler do not run in a circle."""
    far = ship(record("x"))
    assert snapshot(far, format_exception=exception_text) is None


def test_relayed_record_keeps_where_it_came_from() -> None:
    """With relaying on, host name and all else are those of the first sender."""
    far = ship(record("x", user=1))
    twice = ship(far, relay=True)
    fields = vars(twice)
    assert (fields["hops"], fields["hostname"], fields["user"]) == (2, "near", 1)


def test_relaying_ends() -> None:
    """A record that was shipped too often is dropped, even by a relay."""
    far = ship(record("x"))
    for _ in range(MAX_HOPS):
        far = ship(far, relay=True)
    assert snapshot(far, format_exception=exception_text, relay=True) is None


@pytest.mark.parametrize("value", [{"hops": 5}, object(), 5])
def test_no_extra_is_taken_for_the_mark_of_a_receiver(value: object) -> None:
    """Only what a receiver of this process puts there says that a record was shipped."""
    far = ship(record("route", hops=3, received=1.0, remote_addr="10.0.0.1", batchudp=value))
    fields = vars(far)
    assert (fields["hops"], fields["received"], fields["remote_addr"]) == (3, 1.0, "10.0.0.1")
    assert arrival_of(far) == Arrival(
        "near", **PROVENANCE, shadowed=frozenset({"hops", "received", "remote_addr"})
    )
    assert "batchudp_" in fields


def test_extras_that_hide_what_the_receiver_knows_are_relayed() -> None:
    """They are the user's at every station; what hides nothing is not taken for an extra."""
    twice = ship(ship(record("route", hops=3, hostname="h")), relay=True)
    assert (vars(twice)["hops"], vars(twice)["hostname"]) == (3, "h")
    known = arrival_of(twice)
    assert known is not None
    assert (known.hops, known.hostname) == (2, "near")
    once = ship(record("route"))
    assert taken(once, relay=True)[places.EXTRAS] is None


# Shapes


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ({"event": "paid", "total": 1.5}, ()),
        ({"event": "paid"}, None),
        (["a", 1, None], ()),
        ((1, (2, 3)), ()),
        ({1, 2}, ()),
        ({}, ()),
        ("%(h)s %(s)d", ({"h": "1.2.3.4", "s": 200, "not": "shown"},)),
        ("%s", ({"a": 1},)),
        ("%(a)s", ({"a": [1, (2,)]},)),
        ("100%% %(a)5.1f", ({"a": 1.25},)),
    ],
)
def test_structures_arrive_as_what_they_were(message: object, args: Any) -> None:
    """Message and mapping keep their shape, and the text is that of the near side."""
    near = record(message, *(args or ()))
    far = ship(near)
    assert (far.msg, far.args or ()) == (near.msg, near.args or ())
    assert type(far.msg) is type(near.msg)
    assert far.getMessage() == near.getMessage()


class Made(dict[str, str]):
    """Gives what it does not hold, as the atoms of gunicorn do."""

    def __getitem__(self, name: str) -> str:
        return dict.get(self, name.lower(), "-")


def test_a_mapping_with_a_mind_of_its_own() -> None:
    """What it gives for the names in the message is kept, and no header that is not shown."""
    args = Made({"h": "1.2.3.4", "{cookie}i": "secret", "{host}i": "example"})
    near = record("%(h)s %(x)s %({Host}i)s", args)
    far = ship(near)
    assert far.args == {"h": "1.2.3.4", "x": "-", "{Host}i": "example"}
    assert far.getMessage() == near.getMessage() == "1.2.3.4 - example"


@pytest.mark.parametrize(
    "near",
    [
        record("%(a)d", {"a": "no number"}),
        record("%(a)*d", {"a": 1}),
        record("%(missing)s", {"a": 1}),
        record("x" * 2_000 + "%(a)s", {"a": 1}),
        record({"a": "x" * 300_000}),
        record([0] * 5_000),
        record({"a": 1}, "and arguments"),
        Custom("a", 1, "p", 1, {"a": 1}, (), None),
        record(5),
        record(record),
    ],
    ids=range(10),
)
def test_what_cannot_keep_its_shape_is_text(near: logging.LogRecord) -> None:
    """It is rendered as ever."""
    far = ship(near)
    assert type(far.msg) is str
    assert far.args == ()


def test_a_stripped_record_is_still_known_as_shipped() -> None:
    """Whoever takes the receiver's values out of its dictionary does not take away the mark."""
    far = ship(record("x"))
    for name in ("hostname", "hops", "remote_addr", "received", "authenticated"):
        del far.__dict__[name]
    assert snapshot(far, format_exception=exception_text) is None
