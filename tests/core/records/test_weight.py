"""Long texts are weighed, short ones are not, wherever in a record they are."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from batchudp_handler.core.records.snapshot import capture
from batchudp_handler.core.records.weight import LIGHT, Long, text_bytes

LONG = "x" * 10_000


def captured(message: object, *args: object, **more: Any) -> tuple[Any, ...]:
    record = logging.LogRecord("n", 20, "/f.py", 1, message, args, None)
    record.__dict__.update(more)
    taken = capture(record, str, relay=False)
    assert taken is not None
    return taken


@pytest.mark.parametrize(
    "taken",
    [
        captured("short %s %d", "text", 5),
        captured("short", extra="text", number=5),
        captured("short", nested={"a": ["text", {"b": 1}]}),
        captured("short", exc_text="Error: text"),
        captured("short", pair=("text", 5), more={1}),
        captured({"event": "text"}),
    ],
    ids=["plain", "extras", "nested", "exception", "typed", "structure"],
)
def test_short_texts_are_light(taken: tuple[Any, ...]) -> None:
    """They are charged flat: a plain record is not even looked at."""
    assert type(taken) is tuple or not text_bytes(taken)


def test_a_glance_is_enough_for_scalars() -> None:
    """Neither a plain record nor one whose extras are scalars is weighed."""
    assert type(captured("short %s", "text")) is tuple
    assert type(captured("short %s", "text", extra="text", number=5)) is tuple


@pytest.mark.parametrize(
    "taken",
    [
        captured(LONG),
        captured("%s", LONG),
        captured("short", extra=LONG),
        captured("short", nested={"a": ["text", {"b": LONG}]}),
        captured("short", nested={LONG[:10_000]: 1}),
        captured("short", **{LONG: 1}),
        captured("short %s", LONG, extra=1),
        captured("short", exc_text=LONG),
        captured("short", stack_info=LONG),
    ],
    ids=[
        "message",
        "argument",
        "extra",
        "nested",
        "key",
        "name",
        "beside",
        "exception",
        "stack",
    ],
)
def test_long_texts_are_weighed(taken: tuple[Any, ...]) -> None:
    """Wherever they are, and with what holds them."""
    assert type(taken) is Long
    assert 10_000 <= text_bytes(taken) < 20_000


@pytest.mark.parametrize(
    "taken",
    [
        captured("short", pair=(LONG, 5)),
        captured("short", nested=[1, ("a", LONG)]),
        captured({"event": LONG}),
        captured("%(a)s", {"a": LONG}),
    ],
    ids=["typed", "nested", "structure", "mapping"],
)
def test_typed_values_weigh_twice(taken: tuple[Any, ...]) -> None:
    """What is made of them for those who read JSON waits beside them."""
    assert type(taken) is Long
    assert 20_000 <= text_bytes(taken) < 40_000


def test_many_short_items_are_weighed() -> None:
    """They take memory, too."""
    assert text_bytes(captured("short", numbers=[0] * (LIGHT + 1))) > 8 * LIGHT
    assert not text_bytes(captured("short", numbers=[0] * LIGHT))


def test_wide_characters_weigh_more() -> None:
    """Bytes are counted, and not characters."""
    assert text_bytes(captured("\N{PILE OF POO}" * 10_000)) > 40_000
