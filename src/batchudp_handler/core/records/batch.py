"""The batch, on its way in and out of a payload.

`BatchHeader` is what the sender says once per datagram. `Batch` is a decoded payload: tables of
call sites and origins, and one column per thing that differs from record to record. No object per
record exists in either; `rebuild.records` makes the `LogRecord`s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["JSON", "Batch", "BatchHeader", "Captured", "Column", "Content", "Snapshot"]

JSON: TypeAlias = "str | int | float | bool | list[Any] | dict[str, Any] | None"
"""A value that JSON has a type for."""

Snapshot: TypeAlias = "tuple[Any, ...]"
"""A record's safe values in a fixed order; `snapshot.py` names the places."""
Captured: TypeAlias = "tuple[Any, ...]"
"""A snapshot, or the values of a plain record, of which `snapshot.completed` makes one."""

Content: TypeAlias = "tuple[Any, Any]"
"""A record's `msg` and `args`."""

Column: TypeAlias = "tuple[Sequence[int] | None, Sequence[Any]]"
"""Values of some records: their indexes (None: every record has one) and the values."""


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What holds for every record of a sender, sent once per datagram."""

    hostname: str
    static_fields: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded payload. Its length is the number of good records."""

    hostname: str | None
    static_fields: Mapping[str, JSON]
    sites: Sequence[tuple[Any, ...]]
    """name, levelno, levelname, pathname, filename, module, lineno, funcName"""
    origins: Sequence[tuple[Any, ...]]
    """process, processName, thread, threadName, taskName, hostname, hops"""
    site: Sequence[int]
    origin: Sequence[int] | None
    """None: all records are of origin 0."""
    contents: Sequence[Content | None]
    """None where the record was refused."""
    created: Sequence[float | None]
    """None where the sender gave no usable time; the time of receipt takes its place."""
    msecs: Sequence[float]
    relative: Sequence[float]
    extras: Mapping[str, Column]
    """By the name of the attribute it becomes, checked."""
    exc_text: Column
    stack_info: Column
    errors: Column = ((), ())
    """Descriptions of exceptions, as they came."""
    malformed: int = 0
    """Records refused one by one; they may or may not have a row."""
    templates_refused: int = 0
    """Records shown with their template as it is."""
    fields_refused: int = 0
    """Extras, static fields and texts left out: name not allowed, too many, too deep, wrong
    type. Their records are kept."""
    truncated: int = 0
    """Texts cut to a limit."""

    def __len__(self) -> int:
        return len(self.contents) - self.contents.count(None)
