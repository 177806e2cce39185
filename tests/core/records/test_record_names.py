"""The names of a record's attributes, in the orders that everything else goes by."""

from __future__ import annotations

import logging

import pytest

from batchudp_handler.core.records.record_names import (
    FORMATTED,
    HAS_TASK,
    ORIGIN_NAMES,
    RESERVED,
    SITE_NAMES,
    STANDARD,
    STANDARD_LENGTH,
    STANDARD_ROW,
    get_content,
    get_place,
    plain_record,
)


def record() -> logging.LogRecord:
    return logging.LogRecord("a.b", logging.INFO, "/x/y.py", 3, "hello %s", ("you",), None, "f")


def test_the_names_are_those_of_this_python() -> None:
    """A new attribute of `logging` would be taken for an extra of everybody's."""
    names = [*vars(record())]
    assert len(names) == STANDARD_LENGTH
    assert {*names, "taskName"} == STANDARD
    assert HAS_TASK is ("taskName" in names)
    assert [*STANDARD_ROW] == list(dict.fromkeys([*names, "taskName"]))


def test_every_standard_attribute_is_read_once() -> None:
    """Where, by whom, when and what: nothing of a record is left out."""
    times, content = ("created", "msecs", "relativeCreated"), ("msg", "args")
    texts = ("exc_info", "exc_text", "stack_info")
    read = [*SITE_NAMES, *ORIGIN_NAMES, *times, *content, *texts]
    assert sorted(read) == sorted(STANDARD)
    numbered = {name: place for place, name in enumerate(read)}
    assert (*get_place(numbered), *get_content(numbered)) == tuple(range(len(read)))


@pytest.mark.parametrize(
    "name", ["msg", "taskName", "message", "asctime", "getMessage", "batchudp"]
)
def test_no_extra_from_the_network_has_a_reserved_name(name: str) -> None:
    """It would replace what a record, a formatter or the receiver needs."""
    assert name in RESERVED
    assert STANDARD | FORMATTED <= RESERVED


def test_a_record_of_these_attributes_alone() -> None:
    """It is a plain record with the dictionary that was given, and no other attribute."""
    attributes = {"msg": "got %s", "args": ("x",)}
    made = plain_record(attributes)
    assert type(made) is logging.LogRecord
    assert vars(made) is attributes
    assert made.getMessage() == "got x"
    assert not hasattr(made, "name")
