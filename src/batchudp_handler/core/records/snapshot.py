"""The snapshot of a `LogRecord`: a tuple of safe values that waits to be sent.

`capture` runs on the thread that logs and so sets the cost of a log call. One C call fetches the
standard attributes of a record. Where every one has exactly the type that `logging` itself gives
it, and message and arguments are exactly `str`, `int`, `float`, `bool` or `None`, which nobody can
change afterwards, these values are all that is kept, and `completed` makes the snapshot of them on
the thread that sends. Every other record becomes a snapshot at once, of values that `plain` makes.
A record is read and never changed. Checks that are not about safety (finite numbers, sizes) are
left to the encoder.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from batchudp_handler.core.records.arrival import ArrivedRecord
from batchudp_handler.core.records.batch import Snapshot
from batchudp_handler.core.records.exceptions import describe
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
    STANDARD_LENGTH,
    get_content,
    get_place,
    plain_record,
)
from batchudp_handler.core.records.safe import number_text
from batchudp_handler.core.records.shapes import light_shape, message_shape, with_text
from batchudp_handler.core.records.template import SCALARS, fallback_text
from batchudp_handler.core.records.weight import LIGHT, Long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.core.records.batch import Captured
    from batchudp_handler.core.records.kept import Typed

__all__ = [
    "LEVELNO",
    "MAX_HOPS",
    "ORIGIN",
    "PLAIN_LENGTH",
    "SITE",
    "SNAPSHOT_LENGTH",
    "Snapshot",
    "capture",
    "completed",
    "render",
    "snapshot",
]

# Places in a snapshot. The first ten say where the call stands in the source ("site"), the next
# seven who ran it ("origin"); both repeat from record to record, the rest does not.
NAME, LEVELNO, LEVELNAME, PATHNAME, FILENAME, MODULE, LINENO, FUNCNAME, TEMPLATE, NARGS = range(10)
PROCESS, PROCESSNAME, THREAD, THREADNAME, TASKNAME, HOSTNAME, HOPS = range(10, 17)
CREATED, MSECS, RELATIVE, VALUES, EXTRAS, EXC_TEXT, STACK_INFO, SHAPE, ERROR = range(17, 26)
SITE: Final = slice(NAME, PROCESS)
ORIGIN: Final = slice(PROCESS, CREATED)
PLAIN_LENGTH: Final = 18
"""Of what is captured of a plain record, which has no long text."""
SNAPSHOT_LENGTH: Final = 26

MAX_HOPS = 4
"""How often a record may be shipped before it is taken for one that runs in a circle."""

_plain_get_message = logging.LogRecord.getMessage


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
    is_bare = (
        (type(attributes) is dict and len(attributes) == STANDARD_LENGTH)
        and exc_info is exc_text is stack_info is None
        and (kind := type(record)).getMessage is _plain_get_message
        and kind is not ArrivedRecord
    )
    if is_bare and type(message) is str and len(message) <= LIGHT and type(args) is tuple:
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
    place = (name, levelno, levelname, pathname, filename, module, lineno, function, process,
             process_name, thread, thread_name, task, created, msecs, relative)  # fmt: skip
    if is_bare and (shape := light_shape(message, args)) is not None:
        return *place, *shape
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
        record = plain_record(attributes)
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
        template, count, values, shape = None, 0, message, None
        if type(message) is not str or type(args) is not tuple:
            values, shape = with_text(message, args)
        elif args:
            template, count, values = message, len(args), args
        snapshots.append((
            name, levelno, levelname, pathname, filename, module, lineno, function,
            template, count,
            process, process_name, thread, thread_name, task_name, None, 0,
            created, msecs, relative,
            values, None, None, None, shape, None,
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
    extras = hostname = error = None
    hops, is_long = 0, False
    has_own_message = type(record).getMessage is not _plain_get_message
    arrival = record.batchudp if type(record) is ArrivedRecord else None
    if arrival or type(attributes) is not dict or len(attributes) != STANDARD_LENGTH:
        extras, hostname, hops, is_long = additions(attributes, arrival)
        if hops and (not relay or hops > MAX_HOPS):
            return None
        has_own_message = has_own_message or "getMessage" in attributes
        if not HAS_TASK:
            task = optional_text(attributes.get("taskName"))

    template, count, values, shape = _content(record, message, args, has_own_message)
    if exc_info is not None or exc_text is not None:
        exc_text = exception_text(exc_info, exc_text, format_exception)
        error = describe(exc_info)
    if stack_info is not None:
        stack_info = optional_text(stack_info)
    taken = (
        name, levelno, levelname, pathname, filename, module, lineno, function, template, count,
        process, process_name, thread, thread_name, task, hostname, hops,
        created, msecs, relative,
        values, extras, exc_text, stack_info, shape, error,
    )  # fmt: skip
    if is_long or exc_text is not None or stack_info is not None or shape or _is_long(values):
        return Long(taken)
    return taken


def _content(
    record: Any, message: Any, args: Any, has_own_message: bool
) -> tuple[str | None, int, str | tuple[Any, ...], Typed | None]:
    """Return template, number of arguments, arguments or text, and the shape of a record."""
    if has_own_message:
        return None, 0, message_text(record), None
    if type(message) is str:
        if args is None or (type(args) is tuple and not args):
            return None, 0, message, None
        if type(args) is tuple and SCALARS.issuperset(map(type, args)):
            return message, len(args), args, None
    return None, 0, message_text(record), message_shape(message, args)


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
