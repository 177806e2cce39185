"""Records whose texts were cut, wherever that was, are counted once each."""

from __future__ import annotations

import json
import logging
from datetime import date
from typing import Any

import pytest

from batchudp_handler.core.payload.encoders import encoder_for
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.safe import EXTRA_CHARACTERS, TEXT_CHARACTERS, cut, cut_middle
from batchudp_handler.core.records.snapshot import (
    EXC_TEXT,
    EXTRAS,
    LEVELNO,
    NARGS,
    STACK_INFO,
    TEMPLATE,
    VALUES,
    capture,
    completed,
)
from batchudp_handler.core.records.truncation import SMALLEST_CUT, cut_records, shortened, truncate
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.splitter import Splitter
from batchudp_handler.core.wire.constants import MAX_FRAGMENTS

LONG = "y" * 900_000
FORMAT = logging.Formatter().formatException


class Pair:
    def __str__(self) -> str:
        return LONG


def record(msg: object = "short", *args: object, **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("a", logging.INFO, "a.py", 1, msg, args, None)
    vars(made).update(attributes)
    return made


def truncated(*records: logging.LogRecord, room: int = 60_000, encoding: str = "compact") -> int:
    """What is counted when they are sent."""
    counters = SenderCounters()
    encoder = encoder_for(encoding, BatchHeader("host"), compress=True)
    splitter = Splitter(encoder, counters, room=room, max_fragments=MAX_FRAGMENTS)
    splitter.append([taken for each in records if (taken := capture(each, FORMAT, False))])
    while splitter.next_group() is not None:
        pass
    assert counters.dropped == {}
    return counters.truncated


@pytest.mark.parametrize(
    "cut",
    [
        record(LONG),
        record(Pair()),
        record("%s", LONG),
        record("%s and %s", LONG, Pair()),
        record(exc_text=LONG),
        record(stack_info=LONG),
        record(user=LONG),
        record(user={"name": [LONG]}),
        record(user=list(range(5_000))),
        record(LONG, exc_text=LONG, user=LONG),
        record("%s" * 4, *[LONG[: TEXT_CHARACTERS - 1]] * 4, user=["x" * 500_000]),
    ],
    ids=[
        *("message", "rendered", "argument", "odd-argument", "traceback", "stack"),
        *("extra", "nested", "items", "everything", "too-large-as-well"),
    ],
)
@pytest.mark.parametrize("encoding", ["compact", "json"])
def test_a_record_that_was_cut_counts_once(cut: logging.LogRecord, encoding: str) -> None:
    """On the thread that logged, by the size that receivers keep, or for want of room."""
    others = [record("order %d", number, user="ada") for number in range(50)]
    assert truncated(*others, cut, *others, encoding=encoding) == 1


def test_what_only_looks_long_is_not_counted() -> None:
    """Texts within the limits, however many, and texts that quote a marker."""
    quoting = record("it said … [truncated 5 characters]")
    assert truncated(quoting, record("x" * TEXT_CHARACTERS), record(user="x" * 16_384)) == 0
    assert truncated(*[record("%d", number, user=["a"]) for number in range(5_000)]) == 0


def test_what_is_put_back_is_counted_once() -> None:
    """A datagram that turns out too large for the path is made again."""
    counters = SenderCounters()
    encoder = encoder_for("compact", BatchHeader("host"), compress=True)
    splitter = Splitter(encoder, counters, room=9_000, max_fragments=MAX_FRAGMENTS)
    taken = capture(record(LONG), FORMAT, False)
    assert taken is not None
    splitter.append([taken])
    group = splitter.next_group()
    assert group is not None
    splitter.put_back([group])
    splitter.configure(encoder, room=500, max_fragments=MAX_FRAGMENTS)
    assert splitter.next_group() is not None
    assert counters.truncated == 1


# The functions themselves

MARKED = "some … [truncated 5 characters]"
ENDLESS = 10**9
"""Bytes of a payload that may hold texts of any length."""


def taken(*args: object, **attributes: Any) -> Any:
    made = capture(record(*args, **attributes), FORMAT, False)
    assert made is not None
    return completed([made])[0]


@pytest.mark.parametrize(
    ("extras", "count"),
    [
        ({"user": MARKED}, 1),
        ({"user": ["a", {"b": MARKED}]}, 1),
        ({"user": {"b": "a"}, "other": ("a", MARKED)}, 1),
        ({"user": [1, 2, "... [7 more items]"]}, 1),
        ({"user": {"b": ["a"]}, "other": "a]", "last": 5}, 0),
        ({"user": f"{MARKED} it said"}, 0),
        ({"user": [MARKED], "other": MARKED}, 1),
    ],
    ids=["text", "nested", "typed", "items", "none", "quoted", "twice"],
)
def test_an_extra_that_was_cut_shows_it(extras: dict[str, Any], count: int) -> None:
    """By the marker at the end of a text, at any depth; its record counts once."""
    assert cut_records([taken("a"), taken("a", **extras)], ENDLESS) == count


def test_a_payload_of_few_bytes_is_not_looked_through() -> None:
    """No cut text fits into it; a cut list fits into less than a cut text does."""
    text, items = taken("a", user=MARKED), taken("a", user=["... [7 more items]"])
    assert cut_records([text], EXTRA_CHARACTERS - 1) == 0
    assert cut_records([text], EXTRA_CHARACTERS) == 1
    assert cut_records([items], SMALLEST_CUT - 1) == 0
    assert cut_records([items], SMALLEST_CUT) == 1


def test_short_texts_are_left_alone() -> None:
    """Nothing is made anew where receivers take all."""
    snapshot = taken("%s", "x" * TEXT_CHARACTERS, user="x" * EXTRA_CHARACTERS)
    assert shortened([snapshot], ENDLESS) is None
    assert shortened([taken("a", user=LONG)], EXTRA_CHARACTERS - 1) is None


def test_long_texts_are_cut_to_what_receivers_keep() -> None:
    """Message, arguments and extras, each to its own limit; other values stay as they are."""
    made = shortened([taken(LONG), taken("%s %d", LONG, 5), taken("a", user=LONG, n=5)], ENDLESS)
    assert made is not None
    rendered, templated, extra = made
    assert rendered[VALUES] == cut(LONG, TEXT_CHARACTERS)
    assert (templated[TEMPLATE], templated[VALUES]) == ("%s %d", (rendered[VALUES], 5))
    assert extra[EXTRAS] == {"user": cut(LONG, EXTRA_CHARACTERS), "n": 5}
    assert extra[VALUES] == "a"


def test_everything_is_cut_to_fit() -> None:
    """The message begins as it would have been printed, and a traceback keeps its end."""
    traceback = f"Traceback{LONG[:20_000]}KeyError"
    made = truncate(taken("%s %s", "ada", LONG, exc_text=traceback, stack_info=traceback), 1_000)
    assert made[TEMPLATE] is None
    assert made[NARGS] == 0
    assert made[VALUES] == cut(f"ada {LONG}", 1_000)
    assert made[EXC_TEXT] == made[STACK_INFO] == cut_middle(traceback, 1_000)
    assert made[EXC_TEXT].endswith("KeyError")
    assert made[LEVELNO] == logging.INFO
    whole = truncate(taken("short"), 1_000)
    assert (whole[VALUES], whole[EXTRAS], whole[EXC_TEXT]) == ("short", None, None)


STARTED = date(2026, 1, 2)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (5, 5),
        ("short", "short"),
        (LONG, cut(LONG, 100)),
        (["a", 1], ["a", 1]),
        (["y" * 200], cut(json.dumps(["y" * 200]), 100)),
        ({"a": [1] * 50}, cut(json.dumps({"a": [1] * 50}), 100)),
    ],
    ids=["number", "text", "long-text", "list", "long-item", "long-dict"],
)
def test_an_extra_that_is_too_long_becomes_its_beginning(value: object, left: object) -> None:
    """As text, under its name; one that fits keeps its type."""
    [(name, made)] = truncate(taken("a", user=value), 100)[EXTRAS].items()
    assert (name, made) == ("user", left)


def test_a_typed_extra_that_fits_keeps_its_type() -> None:
    """One that does not is cut as those see it who read JSON."""
    snapshot = taken("a", started=STARTED, pair=("x" * 200, STARTED))
    made = truncate(snapshot, 100)[EXTRAS]
    assert made["started"] is snapshot[EXTRAS]["started"]
    assert made["pair"] == cut(json.dumps(["x" * 200, "2026-01-02"]), 100)


def test_more_extras_than_characters_are_left_out() -> None:
    """Their names alone would not fit."""
    snapshot = taken("a", **{f"x{number}": number for number in range(5)})
    assert truncate(snapshot, 5)[EXTRAS] == snapshot[EXTRAS]
    assert truncate(snapshot, 4)[EXTRAS] is None
