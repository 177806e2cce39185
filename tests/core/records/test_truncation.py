"""Records whose texts were cut, wherever that was, are counted once each."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from batchudp_handler.core.payload.encoders import encoder_for
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.safe import TEXT_CHARACTERS
from batchudp_handler.core.records.snapshot import capture
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
