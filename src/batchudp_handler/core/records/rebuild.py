"""`LogRecord`s made of a decoded batch.

They are built for whole batches: the attributes that records of one call site and one thread share
are prepared once, copied per record, and completed.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.record_names import (
    HAS_TASK,
    ORIGIN_NAMES,
    RESERVED,
    SITE_NAMES,
    STANDARD_ROW,
    plain_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from batchudp_handler.core.records.batch import Batch

__all__ = ["attribute_name", "records"]

_ATTRIBUTE_NAME = re.compile(r"[^\W\d_][\w.-]{0,63}")


def records(
    batch: Batch,
    provenance: Mapping[str, object],
    *,
    start: int = 0,
    stop: int | None = None,
    on_error: Callable[[BaseException], None] | None = None,
) -> list[logging.LogRecord]:
    """Make the `LogRecord`s of a batch, in its order, without the refused ones.

    Args:
        batch: A decoded payload.
        provenance: Attributes that say where the batch came from (`remote_addr`, `received`,
            `authenticated`); nothing from the wire overwrites them. `received`, a time, stands in
            for `created` where the sender gave none.
        start: The first row wanted.
        stop: The row after the last one wanted.
        on_error: Told what the record factory of the program raises; None: nobody is.

    Returns:
        Records of the class that `logging.setLogRecordFactory` asks for; plain ones where the
        factory raises or returns something that holds no attributes.
    """
    rows = _attribute_rows(batch, provenance, range(len(batch.contents))[start:stop])
    factory = logging.getLogRecordFactory()
    if factory is logging.LogRecord:
        return [plain_record(row) for row in rows]
    return [_record_by(factory, row, on_error) for row in rows]


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
        return plain_record(row)
    return record


def _attribute_rows(
    batch: Batch, provenance: Mapping[str, object], span: range
) -> list[dict[str, Any]]:
    """The attributes of each record in `span`."""
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
    return [row for row in rows if row is not None]


class _Shared(dict[object, "dict[str, Any]"]):
    """What all records of a site and an origin have in common; made when first asked for."""

    def __init__(self, batch: Batch, provenance: Mapping[str, object]) -> None:
        self._batch = batch
        self._provenance = provenance

    def __missing__(self, place: Any) -> dict[str, Any]:
        site, origin = place if type(place) is tuple else (place, 0)
        batch = self._batch
        *who, hostname, hops = batch.origins[origin]
        row = {**STANDARD_ROW, **batch.static_fields}
        row.update(zip(SITE_NAMES, batch.sites[site], strict=True))
        row.update(zip(ORIGIN_NAMES, who, strict=True))
        if not HAS_TASK and row["taskName"] is None:
            del row["taskName"]
        row["hostname"] = hostname or batch.hostname
        row["hops"] = hops + 1
        row.update(self._provenance)
        self[place] = row
        return row


def _fill(rows: Sequence[dict[str, Any] | None], span: range, columns: Mapping[str, Any]) -> None:
    """Put sparse columns into the rows of `span`."""
    for name, (indexes, values) in columns.items():
        if indexes is None:
            for row, value in zip(rows, values[span.start : span.stop], strict=True):
                if row is not None:
                    row[name] = value
            continue
        for index, value in zip(indexes, values, strict=True):
            if index in span:
                row = rows[index - span.start]
                if row is not None:
                    row[name] = value


def attribute_name(name: str) -> str | None:
    """The attribute that an extra of this name becomes, or None if it may not become one."""
    if name in RESERVED:
        return name + "_"
    return name if _ATTRIBUTE_NAME.fullmatch(name) else None
