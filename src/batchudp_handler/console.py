"""Records as text on a terminal or in a file, and as lines of JSON.

What comes over the network may hold anything: colour codes that repaint a terminal, line breaks
that forge a second record, marks that turn the reading direction (CWE-117, CWE-150). Text output
escapes them, so that one record begins on one line and looks like what it is. JSON output
escapes the same characters in JSON's own way, which loses nothing. `raw` turns both off.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

from batchudp_handler.core.records.arrival import ARRIVAL, CONVENIENT, Arrival, arrival_of
from batchudp_handler.core.records.json_form import json_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DEFAULT_PATTERN",
    "JSONFormatter",
    "TextFormatter",
    "escape",
    "last_resort",
    "wants_colour",
]

DEFAULT_PATTERN = "%(asctime)s %(levelname)-8s %(hostname)s %(name)s: %(message)s"

# C0 but the tab, DEL, C1; marks and overrides of direction; line and paragraph separators;
# halves of surrogate pairs, which no UTF-8 file can hold.
_DANGEROUS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\x1b": r"\x1b"}

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_COLOURS = (
    (logging.CRITICAL, "\x1b[1;31m"),
    (logging.ERROR, "\x1b[31m"),
    (logging.WARNING, "\x1b[33m"),
    (logging.INFO, "\x1b[32m"),
    (0, "\x1b[36m"),
)
_LEVEL_FIELD = re.compile(r"%\(levelname\)[-#0 +]*\d*(?:\.\d+)?s")


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def escape(text: str) -> str:
    """Return the text with everything visible that could act on a terminal or forge a line."""
    return text if text.isprintable() else _DANGEROUS.sub(_escaped, text)


def wants_colour(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Return whether to colour: never with `NO_COLOR`, always with `FORCE_COLOR`, else on
    terminals."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


class _Values:
    """A record as a mapping for `%`: escaped text, and a dash for what it does not have."""

    __slots__ = ("_clean", "_values")

    def __init__(self, values: dict[str, Any], clean: Callable[[str], str]) -> None:
        self._values = values
        self._clean = clean

    def __getitem__(self, name: str) -> object:
        value = self._values.get(name, "-")
        if value.__class__ is str:
            return self._clean(value)
        if value is None:
            return "-"
        if value.__class__ is int or value.__class__ is float:
            return value
        text = str(value)
        cleaned = self._clean(text)
        return value if cleaned == text and repr(value).isprintable() else cleaned


class TextFormatter(logging.Formatter):
    """One line per record, and the lines of a traceback indented below it.

    Args:
        pattern: With the names of record attributes, as `logging.Formatter` takes it.
        colour: Whether levels get a colour.
        raw: Whether control characters go out as they came.
    """

    def __init__(
        self, pattern: str = DEFAULT_PATTERN, *, colour: bool = False, raw: bool = False
    ) -> None:
        super().__init__(pattern)
        self._pattern = pattern
        self._clean: Callable[[str], str] = str if raw else escape
        self._ends_with_message = pattern.endswith("%(message)s")
        self._has_time = self.usesTime()
        self._second = -1
        self._second_text = ""
        self._patterns = _coloured(pattern) if colour else ()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, without changing it."""
        values = dict(record.__dict__)
        arrival = arrival_of(record)
        if arrival is not None and arrival.shadowed:
            values.update([(name, getattr(arrival, name)) for name in arrival.shadowed])
        values["message"] = record.getMessage()
        if self._has_time:
            values["asctime"] = self._time(record)
        end = self._line_end(values)
        line = str(self._pattern_for(record.levelno) % _Values(values, self._clean)) + end
        if record.exc_info or record.exc_text or record.stack_info:
            line += self._below(record)
        return line

    def _line_end(self, values: dict[str, Any]) -> str:
        """Return the carriage return of a line from a file that has one at the end of each.

        At the very end of a line it can overwrite nothing, and a file comes out as it went in.
        """
        message = values["message"]
        if not message.endswith("\r") or not self._ends_with_message:
            return ""
        values["message"] = message[:-1]
        return "\r"

    def _time(self, record: logging.LogRecord) -> str:
        """Return the local time to the millisecond; the text of the latest second is kept."""
        second = int(record.created)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        return f"{self._second_text}.{int(record.msecs):03d}"

    def _pattern_for(self, levelno: int) -> str:
        for level, pattern in self._patterns:
            if levelno >= level:
                return pattern
        return self._pattern

    def _below(self, record: logging.LogRecord) -> str:
        lines: list[str] = []
        if record.exc_text or record.exc_info:
            lines += (record.exc_text or self.formatException(record.exc_info)).split("\n")  # type: ignore[arg-type]  # exc_info is set here
        if record.stack_info:
            lines += self.formatStack(record.stack_info).split("\n")
        return "".join(f"\n    {self._clean(line)}" for line in lines)


def _coloured(pattern: str) -> tuple[tuple[int, str], ...]:
    """Return the pattern once per colour; text from a record never gets into it."""
    dimmed = pattern.replace("%(asctime)s", f"{_DIM}%(asctime)s{_RESET}")
    return tuple(
        (level, _LEVEL_FIELD.sub(lambda found, c=colour: f"{c}{found[0]}{_RESET}", dimmed))  # type: ignore[misc]  # mypy cannot type a default in a lambda
        for level, colour in _COLOURS
    )


# Attributes that are told under a shorter name, or would say the same thing twice.
_TOLD = frozenset(vars(logging.makeLogRecord({}))) | {
    *("taskName", "message", "asctime", ARRIVAL),
}


class JSONFormatter(logging.Formatter):
    """One JSON object per line: the keys that jq and lnav users expect, extras under `extra`."""

    def __init__(self, *, raw: bool = False) -> None:
        super().__init__()
        self._clean: Callable[[str], str] = str if raw else _escape_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON, without changing it."""
        told = {
            name: value
            for name, value in _members(self, record)
            if value not in _NOTHING or name == "msg"
        }
        return self._clean(json.dumps(told, ensure_ascii=False, default=repr))

    def plain(self, record: logging.LogRecord) -> str:
        """Return the least that a line of JSON says of a record that cannot be shown whole."""
        names = {"level": "levelname", "logger": "name", "msg": "msg"}
        told = {key: _safe_text(record, name) for key, name in names.items()}
        return _escape_json(json.dumps(told, ensure_ascii=False))


_LOCAL = Arrival(authenticated=None)  # type: ignore[arg-type]  # nobody has asked
_NOTHING: tuple[object, ...] = (None, "", {})
"""Left out of a line."""


def _members(
    formatter: logging.Formatter, record: logging.LogRecord
) -> tuple[tuple[str, object], ...]:
    values = record.__dict__
    exception = record.exc_text
    if not exception and record.exc_info:
        exception = formatter.formatException(record.exc_info)
    arrival = arrival_of(record)
    told = _TOLD if arrival is None else _TOLD | {*CONVENIENT} - arrival.shadowed
    extra = {
        name: json_form(value, _text_in_json) for name, value in values.items() if name not in told
    }
    arrival = arrival or _LOCAL
    return (
        ("ts", _timestamp(record.created)),
        ("level", record.levelname),
        ("logger", record.name),
        ("msg", record.getMessage()),
        ("host", arrival.hostname),
        ("pid", record.process or None),
        ("process", record.processName),
        ("thread", record.threadName),
        ("task", values.get("taskName")),
        ("path", record.pathname),
        ("line", record.lineno or None),
        ("function", record.funcName),
        ("exception", exception),
        ("stack", record.stack_info),
        ("extra", extra),
        ("peer", arrival.remote_addr),
        ("authenticated", arrival.authenticated),
    )


def _text_in_json(value: Any) -> str:
    """Return a date as ISO 8601, and the text of anything else."""
    try:
        return str(value.isoformat())
    except AttributeError:
        return str(value)


def _timestamp(created: float) -> str:
    """Return a time by RFC 3339 in UTC, to the microsecond."""
    moment = datetime.fromtimestamp(created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z"


def _escape_json(text: str) -> str:
    if text.isprintable():
        return text
    return _DANGEROUS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def last_resort(formatter: logging.Formatter | None, record: logging.LogRecord) -> str:
    """Return the line of a record that its formatter cannot show, in the same form but plainer."""
    if isinstance(formatter, JSONFormatter):
        return formatter.plain(record)
    with contextlib.suppress(Exception):
        return _DEFAULT.format(record)
    values = [_safe_text(record, name) for name in ("levelname", "name", "msg")]
    return escape("{} {}: {}".format(*values))


_DEFAULT = TextFormatter()


def _safe_text(record: logging.LogRecord, name: str) -> str:
    """Return an attribute as text, whatever it is; a dash if it cannot be had."""
    if name == "msg":
        with contextlib.suppress(Exception):
            return record.getMessage()
    with contextlib.suppress(Exception):
        return str(getattr(record, name))
    return "-"
