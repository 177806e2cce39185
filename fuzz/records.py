"""Targets: from the body of a datagram to a line in a file.

A payload from anybody is decoded, its records are built, and every formatter and handler of the
standard library that a program may have must be able to write them. The last of these is where
remote text has hurt before: a format string, a lone surrogate, an attribute that is no number.
"""

from __future__ import annotations

import copy
import json
import logging
import logging.handlers
import os
import re
import tempfile
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any

from batchudp_handler.console import JSONFormatter, TextFormatter
from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.codec import decode_payload, encode_compact, encode_rows
from batchudp_handler.core.payload.compression import Codec
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot
from batchudp_handler.receiver.reemit import Reemitter, nearest_logger

from .feed import Feed
from .guard import limited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.core.records.batch import Batch, Snapshot

__all__ = ["documents", "logger_names", "payloads", "sample_snapshots"]

LIMITS = DecodeLimits()
PROVENANCE = {"remote_addr": "192.0.2.1:9", "received": 1_700_000_000.5, "authenticated": False}
RECORDS_WRITTEN = 4
"""Of one batch: writing is not what is measured, and it is the slow part."""


# --- bytes ------------------------------------------------------------------------------------


def payloads(data: bytes) -> None:
    """Decode a body; the first byte is the codec."""
    _decode(data[0] % 5 if data else 0, data[1:])


def _decode(codec: int, body: bytes) -> None:
    with limited():
        try:
            batch = decode_payload(codec, body, LIMITS)
        except DecodeError:
            return
        built = records(batch, PROVENANCE)
    check_batch(batch, built)
    for record in built[:RECORDS_WRITTEN]:
        check_record(record)
        check_written(record)


# --- documents --------------------------------------------------------------------------------

WORDS = (
    *(
        "",
        "x",
        "msg",
        "args",
        "name",
        "levelno",
        "exc_info",
        "getMessage",
        "__class__",
        "__dict__",
    ),
    *("%s", "%d", "%", "%%", "%(a)s", "%*d", "%999999999d", "%.99999f", "%c", "%r %a %x"),
    *("{", "{}", "{0.__class__}", "$", "${x}", "\x1b[2J", "\r\n", "\u202e", "\u2028", "\0"),
    *("\ud800", "\udfff\ud800", "\ud83d\ude00", "a" * 300, "a." * 40, "ERROR", "error", "50"),
    *("2024-01-01T00:00:00Z", "9999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00+23:59"),
    *("batchudp.receiver", "root", "remote_addr", "authenticated", "taskName", "hops"),
)
NUMBERS: tuple[object, ...] = (
    *(0, 1, -1, 2, 7, 8, 64, 255, 256, 1000, 10_000, 2**31, -(2**31) - 1, 2**53, 2**63, 2**64),
    *(10**299, -(10**300), 0.0, -0.0, 0.5, 1e15, -1e15, 1e308, 5e-324, 1.7e9, 253_402_300_799),
    *(True, False, None),
)
KEYS = (
    *("host", "time", "start", "sites", "origins", "site", "origin", "delta", "values", "static"),
    *("strings", "extra", "exc", "stack", "msecs", "relative", "created", "of", "message"),
    *("level", "levelname", "logger", "timestamp", "exc_text", "stack_info", "process", "thread"),
    *WORDS,
)


def documents(data: bytes) -> None:
    """Decode a JSON document: a right one with some of its members replaced."""
    feed = Feed(data)
    document = copy.deepcopy(feed.pick(_samples()))
    for _ in range(1 + feed.below(6)):
        document = _mutated(document, feed)
    _decode(Codec.JSON, json.dumps(document).encode())


def _mutated(document: Any, feed: Feed) -> Any:
    """The document with one place changed."""
    place = document
    for _ in range(feed.below(6)):
        if not isinstance(place, (list, dict)) or not place:
            break
        key = feed.pick(list(place) if isinstance(place, dict) else range(len(place)))
        if feed.below(3) == 0 or not isinstance(place[key], (list, dict)):
            _change(place, key, feed)
            return document
        place = place[key]
    if isinstance(place, dict):
        place[feed.pick(KEYS)] = _value(feed, 3)
    elif isinstance(place, list):
        place.insert(feed.below(len(place) + 1), _value(feed, 3))
    return document if isinstance(place, (list, dict)) else _value(feed, 3)


def _change(place: Any, key: Any, feed: Feed) -> None:
    kind = feed.below(4)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, list):
        place[key : key + 1] = [place[key]] * feed.below(40)
    elif kind == 2 and isinstance(place[key], int):
        place[key] += feed.below(5) - 2
    else:
        place[key] = _value(feed, 3)


def _value(feed: Feed, depth: int) -> Any:
    kind = feed.below(6 if depth else 4)
    if kind == 0:
        return feed.pick(WORDS)
    if kind == 1:
        return feed.pick(NUMBERS)
    if kind == 2:
        return feed.take(feed.below(16)).decode("utf-8", "surrogateescape")
    if kind == 3:
        return feed.number(64)
    if kind == 4:
        return [_value(feed, depth - 1) for _ in range(feed.below(4))]
    return {feed.pick(KEYS): _value(feed, depth - 1) for _ in range(feed.below(4))}


@cache
def _samples() -> tuple[Any, ...]:
    """Right documents, to be made wrong."""
    header = BatchHeader("web-1", {"service": "shop", "build": 7})
    snapshots = sample_snapshots()
    return (
        json.loads(encode_compact(snapshots, header)),
        json.loads(encode_rows(snapshots, header)),
        json.loads(encode_compact(snapshots[:1], header)),
        {"message": "hi", "level": "warning"},
    )


def sample_snapshots() -> list[Snapshot]:
    """A few records with everything that a record can have."""
    made: list[Snapshot] = []
    for number in range(6):
        record = logging.LogRecord(
            f"shop.orders{number % 2}", 20 + 10 * (number % 3), "/srv/app/orders.py", 40 + number,
            "order %s paid: %.2f, %d left", (f"A-{number}", 12.5 * number, number), None, "pay",
        )  # fmt: skip
        record.created, record.msecs = 1_700_000_000.25 + number, 250.0
        record.relativeCreated = 1000.0 * number
        record.process, record.thread = 4711, 140_000_000_000 + number % 2
        if number == 3:
            record.msg, record.args = "no arguments, 100 %", ()
            record.exc_text = "Traceback (most recent call last):\nValueError: x"
        if number > 3:
            vars(record).update(user="u-1", tries=number, tags=["a", {"b": None}])
            record.stack_info = "Stack (most recent call last):\n  File"
        taken = snapshot(record, format_exception=str)
        assert taken is not None
        made.append(taken)
    return made


# --- what must hold ---------------------------------------------------------------------------

TEXTS = ("name", "levelname", "pathname", "filename", "module", "processName", "threadName")
WHOLE = ("levelno", "lineno", "process", "thread", "hops")
REAL = ("created", "msecs", "relativeCreated")
LONGEST_MARKER = 64
"""Characters that say how much was cut."""


def check_batch(batch: Batch, built: list[logging.LogRecord]) -> None:
    """The counts of a batch fit what was built of it, and nothing exceeds its limit."""
    assert len(built) == len(batch) <= LIMITS.records
    assert batch.malformed >= batch.contents.count(None)
    assert len(batch.static_fields) <= LIMITS.extras


SPECIAL = re.compile(r"__[^_](.*[^_])?__", re.DOTALL)


KINDS = frozenset(
    {
        *("builtins", "datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"),
        "batchudp_handler.core.records.shown",
    }
)
"""Modules whose types a value from the network may have."""


def check_message(message: object, args: object) -> None:
    """A text and its arguments, or a structure without any; of known types in either case."""
    assert type(message) is str or (type(message) in STRUCTURES and not args)
    assert args is None or type(args) in (tuple, dict)
    for value in flat((message, args or ())):
        module = type(value).__module__
        assert module in KINDS or module.partition(".")[0] in KINDS, type(value)


STRUCTURES = (dict, list, tuple, set, frozenset)


def flat(value: object) -> Iterator[object]:
    """Yield a value and everything in it."""
    yield value
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    for inner in value if isinstance(value, STRUCTURES) else ():
        yield from flat(inner)


def check_record(record: logging.LogRecord) -> None:
    """Every attribute has the type that logging's own would have, and none is somebody else's."""
    attributes = vars(record)
    for name in TEXTS:
        assert type(attributes[name]) is str, name
    for name in WHOLE:
        assert type(attributes[name]) is int, name
    for name in REAL:
        assert type(attributes[name]) is float, name
        assert isfinite(attributes[name]), name
    assert record.exc_info is None
    check_message(record.msg, record.args)
    for name in ("exc_text", "stack_info"):
        assert attributes[name] is None or type(attributes[name]) is str, name
    for name, value in PROVENANCE.items():
        assert name in attributes, name  # an extra of this name may stand there
        assert getattr(record.batchudp, name) == value, name  # type: ignore[attr-defined]
    assert len(record.name) <= LIMITS.name_characters + LONGEST_MARKER
    special = [name for name in attributes if SPECIAL.fullmatch(name)]
    assert special == [], "a name that Python itself looks up, when it copies or pickles a record"
    assert callable(record.getMessage)


class _Strict(logging.FileHandler):
    """Writes UTF-8, and lets errors out."""

    def handleError(self, record: logging.LogRecord) -> None:
        del record
        raise  # noqa: PLE0704  # logging calls this in an except clause


class _Pickler(logging.handlers.SocketHandler):
    """Makes what a SocketHandler sends, without a socket."""


PERCENT = (
    "%(asctime)s %(created)f %(filename)s %(funcName)s %(levelname)s %(levelno)d %(lineno)d "
    "%(module)s %(msecs)03d %(name)s %(pathname)s %(process)d %(processName)s %(thread)d "
    "%(relativeCreated)d %(threadName)s %(hostname)s %(remote_addr)s %(message)s"
)
BRACES = "{asctime} {levelname:<10} {levelno:>5d} {name:>20.20} {lineno:d} {msecs:.3f} {message}"
DOLLARS = "$asctime $levelname ${name} $process $message"


@cache
def _formatters() -> tuple[logging.Formatter, ...]:
    return (
        logging.Formatter(),
        logging.Formatter(PERCENT),
        logging.Formatter(BRACES, style="{"),
        logging.Formatter(DOLLARS, style="$"),
        TextFormatter(),
        TextFormatter(colour=True, raw=True),
        JSONFormatter(),
    )


@cache
def _file_handler() -> _Strict:
    handle, path = tempfile.mkstemp(prefix="batchudp-fuzz-")
    os.close(handle)
    handler = _Strict(path, encoding="utf-8")
    os.unlink(path)  # nothing is left behind, however this process ends
    handler.setFormatter(logging.Formatter(PERCENT))
    return handler


def check_written(record: logging.LogRecord) -> None:
    """Whatever the standard library has for a record works on it."""
    for formatter in _formatters():
        formatter.format(record).encode("utf-8")
    handler = _file_handler()
    handler.handle(record)
    assert handler.stream is not None
    handler.stream.seek(0)
    handler.stream.truncate()
    _Pickler("localhost", 9).makePickle(record)
    logging.BufferingFormatter().format([record])
    logging.handlers.QueueHandler(_NoQueue()).handle(copy.copy(record))  # type: ignore[arg-type]  # it calls one method


class _NoQueue:
    def put_nowait(self, record: logging.LogRecord) -> None:
        str(record)


# --- logger names -----------------------------------------------------------------------------


@cache
def _manager() -> logging.Manager:
    """A hierarchy of its own, with a placeholder in it."""
    manager = logging.Manager(logging.RootLogger(logging.WARNING))
    for name in ("shop", "shop.orders.paid", "batchudp.receiver", "a.b.c"):
        manager.getLogger(name).addHandler(logging.NullHandler())
    return manager


def logger_names(data: bytes) -> None:
    """Find the local logger of a remote name; nothing grows, no name reaches another's logger."""
    manager = _manager()
    name = data.decode("utf-8", "replace")
    known = set(manager.loggerDict)
    with limited():
        found = nearest_logger(name, manager)
        record = logging.makeLogRecord({"name": name, "levelno": 10 + len(name) % 50})
        outcome = Reemitter(manager=manager).deliver([record])
    assert outcome.errors == 0
    assert set(manager.loggerDict) == known
    assert found is manager.root or name == found.name or name.startswith(f"{found.name}.")
    assert not found.name.startswith("batchudp")
    assert len(vars(found)["_cache"]) <= 2
