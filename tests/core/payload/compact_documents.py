"""A compact payload with every member there is, as a document that tests can change and read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records

if TYPE_CHECKING:
    import logging

    from batchudp_handler.core.records.batch import Batch

__all__ = ["changed", "made", "read", "reason", "valid"]

LIMITS = DecodeLimits()


def valid() -> dict[str, Any]:
    """Four records of two sites and two threads, with every member there is."""
    return {
        "host": "web-1",
        "static": {"service": "shop"},
        "time": 1_700_000_000_000_000,
        "start": 1_699_999_999_000_000,
        "delta": [5, 10, -3],
        "msecs": [[0], [12.0]],
        "created": [[1], [1_700_000_000.5]],
        "relative": [[2], [7.25]],
        "sites": [
            ["shop", 20, "INFO", "/srv/shop.py", 5, "run", "%s took %d ms", 2],
            ["db", 30, "WARNING", "/srv/db.py", 6, None, None, 0, "db.py", "db"],
        ],
        "origins": [[7, "MainProcess", 9, "MainThread", None], [8, "p", 1, "t", "Task-1", "h", 1]],
        "site": [0, 1, 0, 1],
        "origin": [0, 0, 1, 0],
        "strings": ["alice", "slow"],
        "values": [[{"of": [0, 0]}, [12, 13]], [["pool empty", "pool full"]]],
        "extra": {"user": [[0, 2], [1, {"id": [2]}]], "all": [None, [1, 2, 3, 4]]},
        "exc": [[3], ["Traceback"]],
        "stack": [[1], {"of": [1]}],
    }


def read(document: object, limits: DecodeLimits = LIMITS) -> Batch:
    return decode_payload(0, json.dumps(document).encode(), limits)


def made(batch: Batch) -> list[logging.LogRecord]:
    return records(batch, {"received": 5.0})


def reason(document: object, limits: DecodeLimits = LIMITS) -> Reason:
    with pytest.raises(DecodeError) as caught:
        read(document, limits)
    return caught.value.reason


def changed(path: str, value: object) -> dict[str, Any]:
    """The valid document with one value replaced; `path` like `sites.0.1`."""
    document: Any = valid()
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = document
    for step in parents:
        place = place[step]
    place[last] = value
    return document  # type: ignore[no-any-return]  # built from Any
