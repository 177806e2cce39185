"""What of a `LogRecord` travels, and how does it become a `LogRecord` again?

The only module that knows the names of `LogRecord`'s attributes. `capture` runs on the thread that
logs and so sets the cost of a log call. It copies a plain record's dictionary, in half the time of
picking the attributes out of it; `completed` does that later, on the thread that sends.
Every other record becomes a `snapshot` at once: one C call fetches the attributes, one tuple holds
them. Both read the record and never change it; arguments are kept only when every one is exactly
a `str`, `int`, `float`, `bool` or `None`, which nobody can change afterwards; everything that
could run or keep a user's object is turned into text at once. Checks that are not about safety
here (finite numbers, sizes, types of the call site) are left to the encoder.

The opposite direction is built for whole batches: the attributes that records of one call site and
one thread share are prepared once, copied per record, and completed.
"""

from __future__ import annotations

import logging
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from batchudp_handler.core.batch import Snapshot
from batchudp_handler.core.safe import cut, guarded, json_safe, number_text
from batchudp_handler.core.template import SCALARS, fallback_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from batchudp_handler.core.batch import JSON, Batch, Captured

__all__ = [
    "MAX_HOPS",
    "ORIGIN",
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

MAX_HOPS = 4
"""How often a record may be shipped before it is taken for one that runs in a circle."""

TEXT_CHARACTERS = 256 * 1024
MAX_EXTRAS = 64

_SITE_NAMES = (
    "name",
    "levelno",
    "levelname",
    "pathname",
    "filename",
    "module",
    "lineno",
    "funcName",
)
_ORIGIN_NAMES = (
    "process",
    "processName",
    "thread",
    "threadName",
    "taskName",
)
_get_standard = itemgetter(
    *_SITE_NAMES,
    *("msg", "args", "process", "processName", "thread", "threadName"),
    *("created", "msecs", "relativeCreated", "exc_info", "exc_text", "stack_info"),
)
_EXAMPLE = logging.LogRecord("", 0, "", 0, "", (), None)
_STANDARD = frozenset(vars(_EXAMPLE)) | {"taskName"}
_STANDARD_LENGTH = len(vars(_EXAMPLE))
_HAS_TASK_NAME = hasattr(_EXAMPLE, "taskName")  # since Python 3.12

# the order of the attributes that a reader of `vars(record)` is used to
_TEMPLATE_ROW: dict[str, Any] = dict.fromkeys([*vars(_EXAMPLE), "taskName"])
_plain_get_message = logging.LogRecord.getMessage

# Attributes that formatters and our own receiver add; not extras of the user.
_FORMATTED = frozenset(("message", "asctime"))
_ADDED = _FORMATTED | {"remote_addr", "received", "authenticated", "hops"}

# What an extra from the network may not be called: it gets an underscore behind its name.
_RESERVED = _STANDARD | _ADDED | {"hostname", "getMessage"}
_ATTRIBUTE_NAME = re.compile(r"[^\W\d_][\w.-]{0,63}")


def capture(
    record: logging.LogRecord,
    format_exception: Callable[[Any], str],
    relay: bool,
) -> Captured | None:
    """What `snapshot` takes, or for a plain record a copy of its attributes, to be `completed`.

    Plain is a record without extras, exceptions and stacks whose message and arguments nobody
    can change; all others become snapshots at once.
    """
    attributes = record.__dict__
    if len(attributes) == _STANDARD_LENGTH:
        try:
            if (
                attributes["msg"].__class__ is str
                and record.__class__.getMessage is _plain_get_message
                and not attributes["exc_info"]
                and not attributes["exc_text"]
                and not attributes["stack_info"]
            ):
                args = attributes["args"]
                if args.__class__ is tuple:
                    for value in args:
                        if value.__class__ not in SCALARS:
                            break
                    else:
                        return attributes.copy()
        except KeyError:
            pass  # somebody took attributes away; `snapshot` knows what to do
    return snapshot(record, format_exception=format_exception, relay=relay)


def completed(taken: Iterable[Captured]) -> list[Snapshot]:
    """The snapshots of what `capture` took."""
    snapshots: list[Snapshot] = []
    for each in taken:
        if not isinstance(each, dict):
            snapshots.append(each)
            continue
        try:
            (
                name, levelno, levelname, pathname, filename, module, lineno, function,
                message, args, process, process_name, thread, thread_name,
                created, msecs, relative, _, _, _,
            ) = _get_standard(each)  # fmt: skip
        except KeyError:  # as many attributes as a plain record has, and not the same
            snapshots.append(_snapshot_of_odd(each))
            continue
        template, count, values = (message, len(args), args) if args else (None, 0, message)
        snapshots.append((
            name, levelno, levelname, pathname, filename, module, lineno, function,
            template, count,
            process, process_name, thread, thread_name, each.get("taskName"), None, 0,
            created, msecs, relative,
            values, None, None, None,
        ))  # fmt: skip
    return snapshots


def _snapshot_of_odd(attributes: dict[str, Any]) -> Snapshot:
    attributes.pop("received", None)  # without it the record came from nowhere else
    record = _record(attributes)
    return snapshot(record, format_exception=str, relay=True)  # type: ignore[return-value]  # not None with `relay`


def snapshot(
    record: logging.LogRecord,
    *,
    format_exception: Callable[[Any], str],
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
    attributes = record.__dict__
    try:
        (
            name, levelno, levelname, pathname, filename, module, lineno, function,
            message, args, process, process_name, thread, thread_name,
            created, msecs, relative, exc_info, exc_text, stack_info,
        ) = _get_standard(attributes)  # fmt: skip
    except KeyError:
        return snapshot(_completed(record), format_exception=format_exception, relay=relay)

    extras = hostname = None
    hops = 0
    if len(attributes) != _STANDARD_LENGTH:
        extras, hostname, hops = _additions(attributes)
        if hops and (not relay or hops > MAX_HOPS):
            return None

    values: str | tuple[Any, ...]
    if message.__class__ is not str or record.__class__.getMessage is not _plain_get_message:
        template, count, values = None, 0, _message(record)
    elif not args:
        template, count, values = None, 0, message
    elif args.__class__ is tuple and SCALARS.issuperset(map(type, args)):
        template, count, values = message, len(args), args
    else:
        template, count, values = None, 0, _message(record)

    if exc_info or exc_text:
        exc_text = _exception_text(exc_info, exc_text, format_exception)
    else:
        exc_text = None
    stack_info = _text(stack_info) if stack_info else None

    return (
        name, levelno, levelname, pathname, filename, module, lineno, function, template, count,
        process, process_name, thread, thread_name, attributes.get("taskName"), hostname, hops,
        created, msecs, relative,
        values, extras, exc_text, stack_info,
    )  # fmt: skip


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
        texts = [number_text(value) if value.__class__ is int else repr(value) for value in values]
        return f"({', '.join(texts)})"


def _message(record: logging.LogRecord) -> str:
    """The message, rendered now, because it or its arguments are the user's objects."""
    return cut(guarded(_get_message, record), TEXT_CHARACTERS)


def _get_message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # what the near side could not print is shipped as it is
        return fallback_text(guarded(str, record.msg), json_safe(record.args))


def _text(value: object) -> str:
    return cut(value if value.__class__ is str else guarded(str, value), TEXT_CHARACTERS)


def _exception_text(
    exc_info: Any, exc_text: object, format_exception: Callable[[Any], str]
) -> str | None:
    """The text that a formatter would print, which is the cached one where there is one."""
    return _text(exc_text or guarded(format_exception, exc_info)) or None


def _additions(attributes: dict[str, Any]) -> tuple[dict[str, JSON] | None, str | None, int]:
    """Extras, and the host name and hops of a record that came over the network."""
    names = [*attributes][_STANDARD_LENGTH:]
    if not _RESERVED.isdisjoint(names) or len(names) > MAX_EXTRAS:
        return _odd_additions(attributes)
    extras = {name: attributes[name] for name in names}
    if not SCALARS.issuperset(map(type, extras.values())):
        extras = {name: json_safe(value) for name, value in extras.items()}
    return extras, None, 0


def _odd_additions(attributes: dict[str, Any]) -> tuple[dict[str, JSON] | None, str | None, int]:
    """The same for attributes that are not all extras, or are too many."""
    shipped = attributes.get("hops") if "received" in attributes else None
    hops = shipped if shipped.__class__ is int else 0
    hidden = _STANDARD | (_ADDED if hops else _FORMATTED) | {"hostname"}
    names = [name for name in attributes if name not in hidden]
    omitted = len(names) - MAX_EXTRAS
    if omitted > 0:
        del names[MAX_EXTRAS - 1 :]
    extras = {name: json_safe(attributes[name]) for name in names}
    if omitted > 0:
        extras["omitted_extras"] = omitted + 1
    hostname = attributes.get("hostname")
    return extras or None, None if hostname is None else _text(hostname), hops


def _completed(record: logging.LogRecord) -> logging.LogRecord:
    """A record that has every attribute, for one that somebody took some from."""
    complete = logging.LogRecord("root", logging.INFO, "", 0, "", (), None)
    complete.__dict__.update(record.__dict__)
    return complete


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
        site, origin = place if place.__class__ is tuple else (place, 0)
        batch = self._batch
        *who, hostname, hops = batch.origins[origin]
        row = {**_TEMPLATE_ROW, **batch.static_fields}
        row.update(zip(_SITE_NAMES, batch.sites[site], strict=True))
        row.update(zip(_ORIGIN_NAMES, who, strict=True))
        if not _HAS_TASK_NAME and row["taskName"] is None:
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
    if name in _RESERVED:
        return name + "_"
    return name if _ATTRIBUTE_NAME.fullmatch(name) else None
