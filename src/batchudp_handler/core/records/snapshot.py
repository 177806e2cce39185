"""A `LogRecord` becomes a tuple of safe values, and at the far side a `LogRecord` again.

`capture` runs on the thread that logs and so sets the cost of a log call. One C call fetches the
standard attributes of a record. Where every one has exactly the type that `logging` itself gives
it, and message and arguments are exactly `str`, `int`, `float`, `bool` or `None`, which nobody can
change afterwards, these values are all that is kept, and `completed` makes the snapshot of them on
the thread that sends. Every other record becomes a snapshot at once, of values that `plain` makes.
A record is read and never changed. Checks that are not about safety (finite numbers, sizes) are
left to the encoder.

The opposite direction is built for whole batches: the attributes that records of one call site and
one thread share are prepared once, copied per record, and completed.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from batchudp_handler.core.records.batch import Snapshot
from batchudp_handler.core.records.plain import (
    additions,
    complete,
    exception_text,
    message_text,
    optional_text,
    plain_place,
)
from batchudp_handler.core.records.record_names import (
    HAS_TASK,
    ORIGIN_NAMES,
    RESERVED,
    SITE_NAMES,
    STANDARD_LENGTH,
    STANDARD_ROW,
    get_content,
    get_place,
)
from batchudp_handler.core.records.safe import number_text
from batchudp_handler.core.records.template import SCALARS, fallback_text
from batchudp_handler.core.records.weight import LIGHT, Long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from batchudp_handler.core.records.batch import Batch, Captured

__all__ = [
    "LEVELNO",
    "MAX_HOPS",
    "ORIGIN",
    "PLAIN_LENGTH",
    "SITE",
    "Snapshot",
    "attribute_name",
    "capture",
    "completed",
    "records",
    "render",
    "snapshot",
]

# Places in a snapshot. The first ten say where the call stands in the source ("site"), the next
# seven who ran it ("origin"); both repeat from record to record, the rest does not.
NAME, LEVELNO, LEVELNAME, PATHNAME, FILENAME, MODULE, LINENO, FUNCNAME, TEMPLATE, NARGS = range(10)
PROCESS, PROCESSNAME, THREAD, THREADNAME, TASKNAME, HOSTNAME, HOPS = range(10, 17)
CREATED, MSECS, RELATIVE, VALUES, EXTRAS, EXC_TEXT, STACK_INFO = range(17, 24)
SITE: Final = slice(NAME, PROCESS)
ORIGIN: Final = slice(PROCESS, CREATED)
PLAIN_LENGTH: Final = 18
"""Of what is captured of a plain record, which has no long text; a snapshot has 24 values."""

MAX_HOPS = 4
"""How often a record may be shipped before it is taken for one that runs in a circle."""

_plain_get_message = logging.LogRecord.getMessage
_ATTRIBUTE_NAME = re.compile(r"[^\W\d_][\w.-]{0,63}")


def capture(
    record: Any, format_exception: Callable[[Any], object], relay: bool
) -> Captured | None:
    """Do as `snapshot`, in less time; `completed` does the rest. [1] is an exact level number."""
    try:
        message, args, stack_info = record.msg, record.args, record.stack_info
        exc_info, exc_text = record.exc_info, record.exc_text
        if not (
            type(name := record.name) is type(levelname := record.levelname) is str
            and type(levelno := record.levelno) is int
            and type(pathname := record.pathname) is type(filename := record.filename) is str
            and type(module := record.module) is str
            and type(lineno := record.lineno) is int
            and (type(function := record.funcName) is str or function is None)
            and (type(process := record.process) is int or process is None)
            and (type(process_name := record.processName) is str or process_name is None)
            and (type(thread := record.thread) is int or thread is None)
            and (type(thread_name := record.threadName) is str or thread_name is None)
            and ((task := record.taskName if HAS_TASK else None) is None or type(task) is str)
            and type(created := record.created) is type(msecs := record.msecs) is float
            and type(relative := record.relativeCreated) is float
        ):
            return _capture_odd(record, format_exception, relay)
    except Exception:  # noqa: BLE001  # somebody took attributes away, or they run code
        return _capture_odd(record, format_exception, relay)
    attributes = record.__dict__  # last, because then the attributes are read faster
    if (
        (type(attributes) is dict and len(attributes) == STANDARD_LENGTH)
        and (type(message) is str and len(message) <= LIGHT and type(args) is tuple)
        and exc_info is exc_text is stack_info is None
        and type(record).getMessage is _plain_get_message
    ):
        for value in args:
            if type(value) is str:
                if len(value) > LIGHT:
                    break
            elif type(value) not in SCALARS:
                break
        else:
            return (
                name, levelno, levelname, pathname, filename, module, lineno, function,
                process, process_name, thread, thread_name, task,
                created, msecs, relative, message, args,
            )  # fmt: skip
    place = (
        name, levelno, levelname, pathname, filename, module, lineno, function,
        process, process_name, thread, thread_name, task, created, msecs, relative,
    )  # fmt: skip
    content = message, args, exc_info, exc_text, stack_info
    return _snapshot(record, attributes, place, content, format_exception, relay)


def _capture_odd(
    record: logging.LogRecord, format_exception: Callable[[Any], object], relay: bool
) -> Snapshot | None:
    """The same for a record that lacks attributes, or whose attributes are of odd types."""
    attributes = complete(record.__dict__)
    place = plain_place(get_place(attributes))
    content = get_content(attributes)
    if not (hasattr(record, "msg") and hasattr(record, "args")):
        record = _record(attributes)
    return _snapshot(record, attributes, place, content, format_exception, relay)


def completed(taken: Iterable[Captured]) -> list[Snapshot]:
    """The snapshots of what `capture` took."""
    snapshots: list[Snapshot] = []
    for each in taken:
        if len(each) != PLAIN_LENGTH:
            snapshots.append(each)
            continue
        (
            name, levelno, levelname, pathname, filename, module, lineno, function,
            process, process_name, thread, thread_name, task_name,
            created, msecs, relative, message, args,
        ) = each  # fmt: skip
        template, count, values = (message, len(args), args) if args else (None, 0, message)
        snapshots.append((
            name, levelno, levelname, pathname, filename, module, lineno, function,
            template, count,
            process, process_name, thread, thread_name, task_name, None, 0,
            created, msecs, relative,
            values, None, None, None,
        ))  # fmt: skip
    return snapshots


def snapshot(
    record: logging.LogRecord,
    *,
    format_exception: Callable[[Any], object],
    relay: bool = False,
) -> Snapshot | None:
    """Take what travels from `record`, which stays as it is.

    Args:
        record: The record; nothing of it is kept that could change or run code later.
        format_exception: Makes a text of an `exc_info` tuple, as `Formatter.formatException`.
        relay: Whether a record that came over the network is shipped again.

    Returns:
        The snapshot, or None for a record that was shipped before and is not to be relayed.
    """
    taken = capture(record, format_exception, relay)
    return None if taken is None else completed([taken])[0]


def _snapshot(
    record: logging.LogRecord,
    attributes: dict[str, Any],
    place: tuple[Any, ...],
    content: tuple[Any, ...],
    format_exception: Callable[[Any], object],
    relay: bool,
) -> Snapshot | None:
    """The snapshot of a record that is not plain; only the values in `place` are."""
    message, args, exc_info, exc_text, stack_info = content
    (
        name, levelno, levelname, pathname, filename, module, lineno, function,
        process, process_name, thread, thread_name, task, created, msecs, relative,
    ) = place  # fmt: skip
    extras = hostname = None
    hops, is_long = 0, False
    has_own_message = type(record).getMessage is not _plain_get_message
    if type(attributes) is not dict or len(attributes) != STANDARD_LENGTH:
        extras, hostname, hops, is_long = additions(attributes)
        if hops and (not relay or hops > MAX_HOPS):
            return None
        has_own_message = has_own_message or "getMessage" in attributes
        if not HAS_TASK:
            task = optional_text(attributes.get("taskName"))

    values: str | tuple[Any, ...]
    template, count = None, 0
    if has_own_message or type(message) is not str:
        values = message_text(record)
    elif args is None or (type(args) is tuple and not args):
        values = message
    elif type(args) is tuple and SCALARS.issuperset(map(type, args)):
        template, count, values = message, len(args), args
    else:
        values = message_text(record)

    if exc_info is not None or exc_text is not None:
        exc_text = exception_text(exc_info, exc_text, format_exception)
    if stack_info is not None:
        stack_info = optional_text(stack_info)
    taken = (
        name, levelno, levelname, pathname, filename, module, lineno, function, template, count,
        process, process_name, thread, thread_name, task, hostname, hops,
        created, msecs, relative,
        values, extras, exc_text, stack_info,
    )  # fmt: skip
    if is_long or exc_text is not None or stack_info is not None or _is_long(values):
        return Long(taken)
    return taken


def _is_long(values: str | tuple[Any, ...]) -> bool:
    if type(values) is str:
        return len(values) > LIGHT
    for value in values:  # noqa: SIM110  # a generator takes three times as long
        if type(value) is str and len(value) > LIGHT:
            return True
    return False


def render(snapshot: Snapshot) -> str:
    """The message of a snapshot, as `LogRecord.getMessage` would give it; never raises."""
    template, values = snapshot[TEMPLATE], snapshot[VALUES]
    if template is None:
        return values  # type: ignore[no-any-return]  # the text itself
    try:
        return template % values  # type: ignore[no-any-return]  # str % tuple of scalars
    except Exception:  # noqa: BLE001  # a user's format string that does not fit its arguments
        return fallback_text(template, _shown(values))


def _shown(values: tuple[Any, ...]) -> str:
    try:
        return repr(values)
    except ValueError:  # an int of more digits than CPython prints
        texts = [number_text(value) if type(value) is int else repr(value) for value in values]
        return f"({', '.join(texts)})"


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
        return [_record(row) for row in rows]
    return [_record_by(factory, row, on_error) for row in rows]


def _record(attributes: dict[str, Any]) -> logging.LogRecord:
    record = logging.LogRecord.__new__(logging.LogRecord)
    record.__dict__ = attributes
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
        return _record(row)
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
