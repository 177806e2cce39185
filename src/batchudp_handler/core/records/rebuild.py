"""`LogRecord`s made of a decoded batch.

They are built for whole batches: the attributes that records of one call site and one thread share
are prepared once, copied per record, and completed.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.arrival import ARRIVAL, CONVENIENT, Arrival, ArrivedRecord
from batchudp_handler.core.records.record_names import (
    HAS_TASK,
    ORIGIN_NAMES,
    RESERVED,
    SITE_NAMES,
    STANDARD_ROW,
)
from batchudp_handler.core.records.remote_error import restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from batchudp_handler.core.records.batch import Batch, Column

__all__ = ["attribute_name", "records"]

MAX_EXTRA_NAME = 128
_CONVENIENT = frozenset(CONVENIENT)


def records(
    batch: Batch,
    provenance: Mapping[str, object],
    *,
    start: int = 0,
    stop: int | None = None,
    restore_exceptions: bool = False,
    on_error: Callable[[BaseException], None] | None = None,
) -> list[logging.LogRecord]:
    """Make the `LogRecord`s of a batch, in its order, without the refused ones.

    Args:
        batch: A decoded payload.
        provenance: Fields of `Arrival` that say where the batch came from (`remote_addr`,
            `received`, `authenticated`). `received`, a time, stands in for `created` where the
            sender gave none.
        start: The first row wanted.
        stop: The row after the last one wanted.
        restore_exceptions: Make an `exc_info` of each exception that is described.
        on_error: Told what the record factory of the program raises; None: nobody is.

    Returns:
        Records of the class that `logging.setLogRecordFactory` asks for; plain ones where the
        factory raises or returns something that holds no attributes.
    """
    span = range(len(batch.contents))[start:stop]
    rows = _attribute_rows(batch, provenance, span)
    if restore_exceptions:
        _restore_exceptions(rows, span, batch.errors)
    made = [row for row in rows if row is not None]
    factory = logging.getLogRecordFactory()
    if factory is logging.LogRecord:
        return [_arrived(row) for row in made]
    return [_record_by(factory, row, on_error) for row in made]


def _arrived(row: dict[str, Any]) -> ArrivedRecord:
    record = ArrivedRecord.__new__(ArrivedRecord)
    record.batchudp = row.pop(ARRIVAL)
    record.__dict__ = row
    return record


def _record_by(
    factory: Callable[..., logging.LogRecord],
    row: dict[str, Any],
    on_error: Callable[[BaseException], None] | None,
) -> Any:
    """A record of the program's own kind, made as `logging.makeLogRecord` makes one."""
    try:
        record = factory(None, None, "", 0, "", (), None, None)
        record.__dict__.update(row)
    except BaseException as error:  # noqa: BLE001  # code of the program
        if on_error is not None:
            on_error(error)
        return _arrived(row)
    return record


def _attribute_rows(
    batch: Batch, provenance: Mapping[str, object], span: range
) -> list[dict[str, Any] | None]:
    """Return the attributes of each record in `span`; None for a refused one."""
    part = slice(span.start, span.stop)
    received = provenance.get("received")
    arrival = received if isinstance(received, (int, float)) else 0.0
    shared = _Shared(batch, provenance)
    places: Iterable[object] = (
        batch.site[part]
        if batch.origin is None
        else zip(batch.site[part], batch.origin[part], strict=True)
    )
    rows: list[dict[str, Any] | None] = []
    columns = (batch.contents, batch.created, batch.msecs, batch.relative)
    for place, content, created, msecs, relative in zip(
        places, *[column[part] for column in columns], strict=True
    ):
        if content is None:
            rows.append(None)
            continue
        row = shared[place].copy()
        row["msg"], row["args"] = content
        row["created"] = created
        row["msecs"] = msecs
        row["relativeCreated"] = relative
        if created is None:
            row["created"], row["msecs"] = arrival, float(int(arrival % 1 * 1000))
        rows.append(row)
    _fill(rows, span, {**batch.extras, "exc_text": batch.exc_text, "stack_info": batch.stack_info})
    _shadow(rows, _CONVENIENT.intersection(batch.extras))
    return rows


class _Shared(dict[object, "dict[str, Any]"]):
    """What all records of a site and an origin have in common; made when first asked for."""

    def __init__(self, batch: Batch, provenance: Mapping[str, object]) -> None:
        self._batch = batch
        self._provenance = provenance

    def __missing__(self, place: Any) -> dict[str, Any]:
        site, origin = place if type(place) is tuple else (place, 0)
        batch = self._batch
        *who, hostname, hops = batch.origins[origin]
        row = STANDARD_ROW.copy()
        row.update(zip(SITE_NAMES, batch.sites[site], strict=True))
        row.update(zip(ORIGIN_NAMES, who, strict=True))
        if not HAS_TASK and row["taskName"] is None:
            del row["taskName"]
        known = {"hostname": hostname or batch.hostname, "hops": hops + 1, **self._provenance}
        row.update(known)
        row.update(batch.static_fields)
        row[ARRIVAL] = Arrival(**known, shadowed=_CONVENIENT.intersection(batch.static_fields))
        self[place] = row
        return row


def _fill(rows: Sequence[dict[str, Any] | None], span: range, columns: Mapping[str, Any]) -> None:
    """Put sparse columns into the rows of `span`."""
    for name, column in columns.items():
        for row, value in _cells(rows, span, column):
            row[name] = value


def _cells(
    rows: Sequence[dict[str, Any] | None], span: range, column: Column
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Give each value of a column with the row that it belongs to."""
    indexes, values = column
    if indexes is None:
        indexes, values = span, values[span.start : span.stop]
    for index, value in zip(indexes, values, strict=True):
        if index in span and (row := rows[index - span.start]) is not None:
            yield row, value


def _shadow(rows: Sequence[dict[str, Any] | None], names: frozenset[str]) -> None:
    """Say which of the receiver's own values an extra of the same name hides."""
    if not names:
        return
    for row in rows:
        if row is not None:
            arrival = row[ARRIVAL]
            hidden = {name for name in names if row.get(name) is not getattr(arrival, name)}
            row[ARRIVAL] = replace(arrival, shadowed=arrival.shadowed | hidden)


def _restore_exceptions(
    rows: Sequence[dict[str, Any] | None], span: range, errors: Column
) -> None:
    for row, description in _cells(rows, span, errors):
        row["exc_info"] = restore(description, row["exc_text"])


def attribute_name(name: str) -> str | None:
    """Return the attribute that an extra of this name becomes; None if it may not become one."""
    # Python itself looks up names with two underscores on both sides, to copy a record, say
    if name in RESERVED or (name[:2] == "__" == name[-2:]):
        return name + "_"
    return name if 0 < len(name) <= MAX_EXTRA_NAME and name.isprintable() else None
