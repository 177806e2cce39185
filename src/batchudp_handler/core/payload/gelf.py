"""GELF messages as rows: the same record under the names that rows have.

GELF says little about a call site, so libraries add fields of their own; those of graypy, pygelf
and their like in other languages are understood. All other fields become extras, without the
underscore that GELF puts before them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["row_of_gelf"]

LEVELS = {0: 50, 1: 50, 2: 50, 3: 40, 4: 30, 5: 20, 6: 20, 7: 10}
"""Of syslog to those of `logging`: whatever is worse than an error is critical."""

NAMES = {
    "name": ("_logger", "_logger_name", "_loggerName", "_facility", "facility", "_container_name"),
    "hostname": ("host",),
    "created": ("timestamp",),
    "pathname": ("_file", "file"),
    "lineno": ("_line", "line"),
    "funcName": ("_function", "_func"),
    "module": ("_module",),
    "process": ("_pid",),
    "processName": ("_process_name",),
    "threadName": ("_thread_name",),
    "taskName": ("_taskName",),
    "stack_info": ("_stack_info",),
}
"""Members of a row, and those of GELF of which the first that is there counts."""

_NOT_EXTRAS = frozenset({"version", "short_message", "full_message", "level"})
_TRACEBACK = "Traceback (most recent call last)"


def row_of_gelf(document: object) -> object:
    """Return a parsed message as a row; what is none is returned as it is."""
    if not isinstance(document, dict) or "short_message" not in document:
        return document
    row: dict[str, Any] = {"message": document["short_message"]}
    taken = set(_NOT_EXTRAS)
    for member, names in NAMES.items():
        found = [name for name in names if document.get(name) not in (None, "")]
        if found:
            row[member] = document[found[0]]
            taken.add(found[0])
    row["levelno"] = _level(document.get("level"))
    row["extra"] = {
        name.removeprefix("_"): value
        for name, value in document.items()
        if name not in taken and value is not None
    }
    _add_full_message(row, document.get("full_message"))
    return row


def _level(value: object) -> int:
    """Return the level of `logging`; without a level of syslog it is INFO."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:2])
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 20
    return next((level for severity, level in LEVELS.items() if severity == value), 20)


def _add_full_message(row: dict[str, Any], full: object) -> None:
    """Put the long text where it belongs: with an exception, as the message, or as an extra."""
    if not isinstance(full, str) or not full or full == row["message"]:
        return
    if _TRACEBACK in full:
        row["exc_text"] = full.rstrip("\n")
    elif isinstance(row["message"], str) and full.startswith(row["message"]):
        row["message"] = full
    else:
        row["extra"]["full_message"] = full
