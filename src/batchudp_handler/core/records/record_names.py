"""The names of a `LogRecord`'s attributes, and of those that others put beside them."""

from __future__ import annotations

import logging
from operator import itemgetter
from typing import Any, Final

from batchudp_handler.core.records.arrival import ARRIVAL

__all__ = [
    "FORMATTED",
    "HAS_TASK",
    "ORIGIN_NAMES",
    "RESERVED",
    "SITE_NAMES",
    "STANDARD",
    "STANDARD_LENGTH",
    "STANDARD_ROW",
    "get_content",
    "get_place",
    "plain_record",
]

SITE_NAMES = (
    "name",
    "levelno",
    "levelname",
    "pathname",
    "filename",
    "module",
    "lineno",
    "funcName",
)
ORIGIN_NAMES = (
    "process",
    "processName",
    "thread",
    "threadName",
    "taskName",
)

_EXAMPLE = logging.LogRecord("", 0, "", 0, "", (), None)
STANDARD = frozenset(vars(_EXAMPLE)) | {"taskName"}
STANDARD_LENGTH: Final = len(vars(_EXAMPLE))
HAS_TASK: Final = hasattr(_EXAMPLE, "taskName")  # since Python 3.12

STANDARD_ROW: dict[str, object] = dict.fromkeys([*vars(_EXAMPLE), "taskName"])
"""In the order that a reader of `vars(record)` is used to."""

FORMATTED = frozenset(("message", "asctime"))
"""What formatters add."""
RESERVED = STANDARD | FORMATTED | {"getMessage", ARRIVAL}
"""What an extra from the network may not be called: it gets an underscore behind its name."""

get_place = itemgetter(*SITE_NAMES, *ORIGIN_NAMES, "created", "msecs", "relativeCreated")
"""Where, by whom and when a record was made."""
get_content = itemgetter("msg", "args", "exc_info", "exc_text", "stack_info")
"""What it says."""


def plain_record(attributes: dict[str, Any]) -> logging.LogRecord:
    """Return a record that holds exactly these attributes."""
    record = logging.LogRecord.__new__(logging.LogRecord)
    record.__dict__ = attributes
    return record
