"""What a receiver knows of a record is found beside the record, by its type."""

from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import FrozenInstanceError, fields
from types import SimpleNamespace

import pytest

from batchudp_handler.core.records.arrival import (
    ARRIVAL,
    CONVENIENT,
    Arrival,
    ArrivedRecord,
    arrival_of,
)

KNOWN = Arrival("near", ("192.0.2.1", 5), 7.25, True, 2, frozenset({"hops"}))


def test_nobody_can_change_it() -> None:
    """Records share it, so a copy of one may be the same object."""
    with pytest.raises(FrozenInstanceError):
        KNOWN.hops = 1  # type: ignore[misc]
    assert copy.copy(KNOWN) is copy.deepcopy(KNOWN) is copy.deepcopy([KNOWN])[0] is KNOWN


def test_it_is_pickled_as_a_dict() -> None:
    """Who unpickles it need not have this package."""
    pickled = pickle.dumps(KNOWN)
    assert b"batchudp_handler" not in pickled
    assert pickle.loads(pickled) == {
        name: getattr(KNOWN, name) for name in Arrival.__slots__
    }  # our own


def test_the_fields_that_are_attributes_as_well_are_fields() -> None:
    """A format string finds under such a name what stands here under it."""
    assert {field.name for field in fields(Arrival)} == {*CONVENIENT, "shadowed"}


def test_it_is_no_item_of_a_record_that_arrived() -> None:
    """Formatters that print a record's dictionary do not take it for an extra."""
    record = ArrivedRecord("a", logging.INFO, "a.py", 1, "hello", (), None)
    record.batchudp = KNOWN
    assert ARRIVAL not in vars(record)
    assert arrival_of(record) is KNOWN


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (SimpleNamespace(batchudp=KNOWN), KNOWN),
        (SimpleNamespace(batchudp={"hops": 5}), None),
        (SimpleNamespace(hops=5), None),
        (object(), None),
        (None, None),
    ],
    ids=["own-class", "forged", "not-shipped", "no-attributes", "nothing"],
)
def test_in_a_record_of_the_programs_own_class(record: object, known: Arrival | None) -> None:
    """It is an attribute of the right type, and nothing else is taken for it."""
    assert arrival_of(record) is known


def test_attributes_in_a_dict_of_another_kind() -> None:
    """Its methods are not asked, and what is no dict holds nothing."""

    class Lying:
        __dict__ = 5  # type: ignore[assignment]

    class Mapping(dict[str, object]):
        def get(self, name: object, default: object = None) -> object:
            raise ZeroDivisionError

    own = logging.LogRecord("a", 20, "a.py", 1, "hello", (), None)
    own.__dict__ = Mapping(batchudp=KNOWN)
    assert arrival_of(own) is KNOWN
    assert arrival_of(Lying()) is None
