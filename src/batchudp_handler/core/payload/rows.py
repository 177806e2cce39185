"""A batch as an array of JSON objects, and back.

Entries have the names of `LogRecord`'s attributes, the rendered message, and extras in an object
of their own: what log shippers and `jq` read without a manual. Written strictly, read generously:
`nc` and other programs send what they like, so common names and forms of level, time and message
are understood, and members nobody knows become extras. A line that is no record costs that line.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import PRINTED_RECORD, Price
from batchudp_handler.core.payload.json_text import dumps, encode_with_escapes, has_long_number
from batchudp_handler.core.records.batch import Batch
from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.paths import filename_and_module
from batchudp_handler.core.records.portable import (
    LAST_SECOND,
    is_portable_place,
    portable_header,
    portable_snapshot,
)
from batchudp_handler.core.records.safe import is_portable_number
from batchudp_handler.core.records.snapshot import CREATED, ORIGIN, TEMPLATE, VALUES, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from batchudp_handler.core.payload.checks import Checks
    from batchudp_handler.core.records.batch import JSON, BatchHeader, Snapshot

__all__ = ["decode_rows", "encode_rows"]

INFO = 20
LEVEL_NAMES = {0: "NOTSET", 10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
LEVELS = {name.lower(): number for number, name in LEVEL_NAMES.items()} | {
    **dict.fromkeys(("trace", "verbose"), 10),
    **dict.fromkeys(("notice", "information", "informational"), 20),
    "warn": 30,
    "err": 40,
    **dict.fromkeys(("fatal", "crit", "alert", "emerg", "emergency", "panic"), 50),
}
"""Level names of logging, syslog and other libraries, in lower case."""

_T = TypeVar("_T")

LEVEL = ("levelno", "level", "levelname")
MESSAGE = ("message", "msg")
NAME = ("name", "logger", "source")
TIME = ("created", "timestamp", "@timestamp", "time")
HOST = ("hostname", "host")
_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
"""From which number on a time is in nanoseconds, microseconds, milliseconds."""

_KNOWN = frozenset(
    (
        *(*MESSAGE, *NAME, *TIME, *HOST, "levelno", "level", "levelname", "args", "exc_info"),
        *("pathname", "filename", "module", "lineno", "funcName", "process", "processName"),
        *("thread", "threadName", "taskName", "msecs", "relativeCreated", "exc_text"),
        *("stack_info", "extra", "hops"),
    )
)
"""Members with a meaning; all others become extras."""


def encode_rows(snapshots: Sequence[Snapshot], header: BatchHeader) -> bytes:
    """The payload of a batch: a JSON array of entries in UTF-8."""
    try:
        if all(_is_portable(snapshot) for snapshot in snapshots):
            text = dumps([_entry(snapshot, header) for snapshot in snapshots])
            payload = text.encode()
            if not has_long_number(payload):
                return payload
    except Exception:  # noqa: BLE001  # whatever it was, the careful way may do
        pass
    header = portable_header(header)
    text = dumps([_entry(portable_snapshot(snapshot), header) for snapshot in snapshots])
    return encode_with_escapes(text)


def _is_portable(snapshot: Snapshot) -> bool:
    times = snapshot[CREATED:VALUES]
    return (
        is_portable_place(snapshot[:CREATED])
        and {float, int}.issuperset(map(type, times))
        and 0 <= times[0] <= LAST_SECOND
        and all(map(is_portable_number, times))
    )


def _entry(snapshot: Snapshot, header: BatchHeader) -> dict[str, Any]:
    name, levelno, levelname, pathname, filename, module, lineno, function = snapshot[:TEMPLATE]
    process, process_name, thread, thread_name, task_name, hostname, hops = snapshot[ORIGIN]
    created, msecs, relative, _, extras, exc_text, stack_info, _, _ = snapshot[CREATED:]
    entry = {
        "created": created,
        "levelname": levelname,
        "levelno": levelno,
        "name": name,
        "message": render(snapshot),
        "hostname": header.hostname if hostname is None else hostname,
        "process": process,
        "processName": process_name,
        "thread": thread,
        "threadName": thread_name,
        "taskName": task_name,
        "pathname": pathname,
        "filename": filename,
        "module": module,
        "lineno": lineno,
        "funcName": function,
        "msecs": msecs,
        "relativeCreated": relative,
    }
    if extras or header.static_fields:
        entry["extra"] = {**header.static_fields, **(extras or {})}
        for name, value in entry["extra"].items():
            if type(value) is Typed:
                entry["extra"][name] = value.json
    optional = (("exc_text", exc_text), ("stack_info", stack_info), ("hops", hops))
    entry.update([(key, value) for key, value in optional if value])
    return entry


def decode_rows(document: object, checks: Checks) -> Batch:
    """Read a parsed payload: an array of objects, or one object.

    Raises:
        DecodeError: It is neither, or has too many entries, or costs too much.
    """
    entries = document if isinstance(document, list) else [document]
    if len(entries) > checks.limits.records:
        raise DecodeError(Reason.TOO_MANY_RECORDS)
    if not entries:
        raise DecodeError(Reason.SHAPE, "no records")
    checks.budget.work(len(entries) * (Price.ROW + Price.RECORD))
    checks.budget.output(len(entries) * PRINTED_RECORD)
    reader = _Reader(checks)
    for entry in entries:
        reader.read(entry)
    return reader.batch()


class _Reader:
    """Collects the columns of a batch, entry by entry."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._sites: dict[tuple[Any, ...], int] = {}
        self._origins: dict[tuple[Any, ...], int] = {}
        self._site: list[int] = []
        self._origin: list[int] = []
        self._texts: list[str] = []
        self._created: list[float | None] = []
        self._msecs: list[float] = []
        self._relative: list[float] = []
        self._columns: dict[str, tuple[list[int], list[Any]]] = {}
        self._malformed = 0

    def read(self, entry: object) -> None:
        """Take one entry; one that is no record is counted."""
        text = self._message(entry) if isinstance(entry, dict) else None
        if text is None or not isinstance(entry, dict):
            self._malformed += 1
            return
        row = len(self._texts)
        self._texts.append(text)
        self._site.append(self._number(self._sites, self._read_site(entry)))
        self._origin.append(self._number(self._origins, self._read_origin(entry)))
        created = _seconds(_first(entry, TIME), self._checks)
        msecs = self._checks.msecs(entry.get("msecs"))
        self._created.append(created)
        self._msecs.append(float(int((created or 0) % 1 * 1000)) if msecs is None else msecs)
        self._relative.append(self._checks.relative(entry.get("relativeCreated")) or 0.0)
        for name, value in self._fields(entry).items():
            rows, values = self._columns.setdefault(name, ([], []))
            rows.append(row)
            values.append(value)

    def batch(self) -> Batch:
        """Everything that was read."""
        nothing: tuple[list[int], list[Any]] = ([], [])
        exc_text = self._columns.pop("exc_text", nothing)
        stack_info = self._columns.pop("stack_info", nothing)
        return Batch(
            hostname=None,
            static_fields={},
            sites=list(self._sites),
            origins=list(self._origins),
            site=self._site,
            origin=self._origin,
            contents=[(text, ()) for text in self._texts],
            created=self._created,
            msecs=self._msecs,
            relative=self._relative,
            extras=self._columns,
            exc_text=exc_text,
            stack_info=stack_info,
            malformed=self._malformed,
            fields_refused=self._checks.fields_refused,
            truncated=self._checks.truncated,
        )

    @staticmethod
    def _number(table: dict[tuple[Any, ...], int], key: tuple[Any, ...]) -> int:
        return table.setdefault(key, len(table))

    def _message(self, entry: dict[str, Any]) -> str | None:
        message = _first(entry, MESSAGE)
        if message is None:
            return None
        return self._checks.text(message if isinstance(message, str) else dumps(message))

    def _read_site(self, entry: dict[str, Any]) -> tuple[Any, ...]:
        check = self._checks
        pathname = check.name(entry.get("pathname"), check.limits.path_characters) or ""
        filename, module = filename_and_module(pathname)
        name = check.name(_first(entry, NAME))
        return (
            "root" if name is None else name,
            *_level(entry, check),
            pathname,
            check.name(entry.get("filename")) or filename,
            check.name(entry.get("module")) or module,
            check.integer(entry.get("lineno")) or 0,
            check.word(entry.get("funcName", "")),
        )

    def _read_origin(self, entry: dict[str, Any]) -> tuple[Any, ...]:
        check = self._checks
        hops = check.integer(entry.get("hops")) or 0
        return (
            check.integer(entry.get("process")) or 0,
            check.word(entry.get("processName", "")),
            check.integer(entry.get("thread")) or 0,
            check.word(entry.get("threadName", "")),
            check.name(entry.get("taskName")),
            check.name(_first(entry, HOST)),
            min(max(hops, 0), 255),
        )

    def _fields(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Extras, said in `extra` or beside it, and the texts of exception and stack."""
        unknown = {key: value for key, value in entry.items() if key not in _KNOWN}
        extra = entry.get("extra") or {}
        if isinstance(extra, dict):
            unknown.update(extra)
        else:
            self._checks.fields_refused += 1
        fields = self._checks.object(unknown) if unknown else {}
        for key in ("exc_text", "stack_info"):
            if entry.get(key) and (text := self._checks.traceback(entry[key])) is not None:
                fields[key] = text
        return fields


def _first(entry: Mapping[str, JSON], names: Iterable[str]) -> JSON:
    """The first of the members that is there and not null."""
    for name in names:
        value = entry.get(name)
        if value is not None:
            return value
    return None


def _level(entry: Mapping[str, JSON], check: Checks) -> tuple[int, str]:
    """Number and name; each stands for the other where only one is said."""
    said = [entry.get(member) for member in LEVEL]
    numbers = [check.levelno(_whole(value)) for value in said]
    number = _first_of(numbers[:2])
    name = _first_of([check.name(said[2]), None if _is_digits(said[1]) else check.name(said[1])])
    if number is None:
        number = _first_of([*map(_known_level, said), numbers[2]])
        number = INFO if number is None else number
        if not name or name.lower().strip() in LEVELS or _is_digits(name):
            name = None
    return number, LEVEL_NAMES.get(number, f"Level {number}") if name is None else name


def _first_of(values: Iterable[_T | None]) -> _T | None:
    return next((value for value in values if value is not None), None)


def _whole(value: JSON) -> JSON:
    """Digits, and floats without a fraction, as the numbers that they are."""
    if _is_digits(value) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return value


def _known_level(value: JSON) -> int | None:
    return LEVELS.get(value.strip().lower()) if isinstance(value, str) else None


def _is_digits(value: JSON) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"[0-9]{1,7}", value) is not None


def _seconds(value: JSON, check: Checks) -> float | None:
    """An epoch time in seconds or smaller units, or ISO 8601, which is UTC unless it says."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, (int, float)) and value.__class__ is not bool:
        for least, unit in _UNITS:
            if value >= least:
                value = value / unit
                break
    return check.seconds(value)
