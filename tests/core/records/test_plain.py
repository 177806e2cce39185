"""Whatever stands in a record's attributes, a snapshot is made of exact values."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from batchudp_handler.core.payload.compact import encode_compact
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.record_names import ORIGIN_NAMES, SITE_NAMES
from batchudp_handler.core.records.shown import SHOWN, base_value
from batchudp_handler.core.records.snapshot import capture, completed
from batchudp_handler.core.records.weight import Long
from tests.odd import Odd, odd_objects

EXACT = {str, int, float, bool, type(None), *SHOWN}
FIELDS = [
    *(*SITE_NAMES, *ORIGIN_NAMES, "created", "msecs", "relativeCreated", "msg", "args"),
    *("exc_info", "exc_text", "stack_info", "an_extra", "hostname"),
]


def types_in(value: Any) -> set[type]:
    """The exact types of all that a value is made of."""
    if type(value) is Typed:
        return types_in(value.value)
    if type(value) in SHOWN:
        return {type(value)} | types_in(base_value(value))
    if type(value) in {tuple, Long, list, set, frozenset}:
        return set().union(*map(types_in, value))
    if type(value) is dict:
        return types_in([*value.keys(), *value.values()])
    return {type(value)}


def taken(near: logging.LogRecord) -> Any:
    made = capture(near, lambda exc_info: "text", False)
    assert made is not None
    return made


@pytest.mark.parametrize("field", FIELDS)
def test_no_odd_object_gets_into_a_snapshot(field: str) -> None:
    """Not for any type that it has or says it has, whatever its methods do."""
    for odd in odd_objects(Odd()):
        near = logging.LogRecord("near", 20, "p.py", 1, "text", (), None)
        near.__dict__[field] = odd
        made = taken(near)
        assert types_in(made) <= EXACT
        assert type(made[1]) is int
        encode_compact(completed([made]), BatchHeader("host"))


@pytest.mark.parametrize("name", ["a name", ""])
def test_an_odd_name_of_an_attribute_becomes_text(name: str) -> None:
    """Keys of a record's dictionary may be anything, too."""

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            return str.__eq__(self, other)

    for key in (Name(name), 5, ("a", "tuple"), None):
        near = logging.LogRecord("near", 20, "p.py", 1, "text", (), None)
        near.__dict__[key] = 1  # type: ignore[index]
        made = taken(near)
        assert types_in(made) <= EXACT
        assert made[21] == {str(key): 1}


def test_attributes_may_be_a_dict_of_another_kind() -> None:
    """What its methods say does not count where a record is not plain."""

    class Lying(dict[str, Any]):
        def __len__(self) -> int:
            return 0

    near = logging.LogRecord("near", 20, "p.py", 1, "text", (), None)
    near.__dict__ = Lying(near.__dict__, user="u")
    assert taken(near)[21] == {"user": "u"}
