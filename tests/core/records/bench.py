"""Records as the tests of this room make them, and the way of one to the far side."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.payload.codec import decode_payload, encode_compact
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Snapshot

__all__ = ["PROVENANCE", "exception_text", "record", "ship", "taken"]

PROVENANCE: dict[str, Any] = {
    "remote_addr": ("192.0.2.1", 5),
    "received": 7.25,
    "authenticated": True,
}


def record(message: object = "hello", *args: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", 20, "/x/y.py", 3, message, args, None, "f")
    made.__dict__.update(attributes)
    return made


def exception_text(exc_info: Any) -> str:
    return logging.Formatter().formatException(exc_info)


def taken(near: logging.LogRecord, *, relay: bool = False) -> Snapshot:
    snap = snapshot(near, format_exception=exception_text, relay=relay)
    assert snap is not None
    return snap


def ship(near: logging.LogRecord, *, relay: bool = False) -> logging.LogRecord:
    payload = encode_compact([taken(near, relay=relay)], BatchHeader("near", {}))
    (far,) = records(decode_payload(0, payload, DecodeLimits()), PROVENANCE)
    return far
