"""The far side prints what the near side would have: for any record, and formatters of the field.

A record of any kind is taken, encoded, decoded and made a record again. Each formatter is asked
for its line on both sides. Three differences are known. A formatter that prints all extras also
prints what the receiver adds for format strings, so a filter takes that away here. A JSON encoder
that is told to write the `repr` of what it does not know writes the value of an enum member or a
dataclass, which it does know. A field that a dataclass hides from its `repr` does not travel.
"""

from __future__ import annotations

import copy
import enum
import importlib
import logging
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from decimal import Decimal  # noqa: TC003  # hypothesis asks for it
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchudp_handler.core.payload.codec import BatchHeader, decode_payload, encode_compact
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.arrival import CONVENIENT, arrival_of
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

PROVENANCE = {"remote_addr": "192.0.2.1:5", "received": 1.8e9, "authenticated": False}
Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class Port(enum.IntEnum):
    HTTP = 80


class Word(str):
    __slots__ = ()


@dataclass
class Order:
    number: int
    total: Decimal


class Plain:
    def __repr__(self) -> str:
        return "<plain>"


def ship(near: logging.LogRecord) -> logging.LogRecord:
    taken = snapshot(near, format_exception=logging.Formatter().formatException)
    assert taken is not None
    body = encode_compact([taken], BatchHeader("near", {}))
    (far,) = records(decode_payload(0, body, DecodeLimits()), PROVENANCE)
    return far


# What people log

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts | st.binary()
)
objects = (
    st.sampled_from([Colour.RED, Port.HTTP, Word("w"), Plain()])
    | st.builds(Point, scalars, scalars)
    | st.builds(Order, st.integers(), st.decimals(allow_nan=False, places=2))
    | st.builds(lambda value: OrderedDict(a=value), scalars)
)
standard = (
    st.datetimes() | st.dates() | st.times() | st.timedeltas() | st.fractions() | st.uuids()
    | st.complex_numbers() | st.ip_addresses()
    | st.decimals().filter(lambda value: not value.is_snan())
)  # fmt: skip
leaves = scalars | standard | objects
keys = texts | st.integers() | st.none() | st.tuples(texts, st.integers())
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.frozensets(scalars | standard, max_size=3)
        | st.sets(texts, max_size=5)
    ),
    max_leaves=8,
)
RESERVED = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "batchudp"}
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(
    lambda name: name not in RESERVED and not (name[:2] == "__" == name[-2:])
)
extras = st.dictionaries(names, values, max_size=3)
events = st.dictionaries(names, values, min_size=1, max_size=4)
contents = (
    st.tuples(texts, st.just(()))
    | st.tuples(st.just("%s and %r"), st.tuples(values, values))
    | st.tuples(
        st.just("%(a)s %(b)r"),
        st.fixed_dictionaries({"a": values, "b": values}).map(lambda m: (m,)),
    )
    | st.tuples(events, st.just(()))
    | st.tuples(st.lists(values, min_size=1, max_size=3), st.just(()))
)


def make(content: tuple[Any, tuple[Any, ...]], more: dict[str, Any]) -> logging.LogRecord:
    message, args = content
    record = logging.LogRecord("shop.web", 20, "/srv/web.py", 7, message, args, None, "handle")
    record.__dict__.update(more)
    return record


def line(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The line; a formatter may change the record that it is given."""
    return formatter.format(copy.copy(record))


Case = tuple["Callable[[], logging.Formatter]", "st.SearchStrategy[logging.LogRecord]"]
any_record = st.builds(make, contents, extras)


def stdlib(style: str) -> Callable[[], logging.Formatter]:
    patterns = {
        "%": "%(asctime)s %(levelname)s %(name)s %(message)s %(lineno)d %(x)s %(x)r",
        "{": "{asctime} {levelname:>8} {name} {message} {lineno} {x} {x!r}",
        "$": "$asctime $levelname $name ${message} $lineno $x",
    }
    return lambda: logging.Formatter(patterns[style], style=style)  # type: ignore[arg-type]  # one of these


def structlog_formatter(renderer: str) -> Callable[[], logging.Formatter]:
    def build() -> logging.Formatter:
        structlog = pytest.importorskip("structlog")
        render = {
            "json": structlog.processors.JSONRenderer(default=repr, skipkeys=True),
            "key-value": structlog.processors.KeyValueRenderer(),
            "console": structlog.dev.ConsoleRenderer(colors=False, sort_keys=False),
        }[renderer]
        made: logging.Formatter = structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        )
        return made

    return build


def json_logger() -> logging.Formatter:
    pytest.importorskip("pythonjsonlogger")
    try:
        module = importlib.import_module("pythonjsonlogger.json")
    except ImportError:  # before 3.1
        module = importlib.import_module("pythonjsonlogger.jsonlogger")
    made: logging.Formatter = module.JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    return made


def gunicorn_formatter() -> logging.Formatter:
    glogging = pytest.importorskip("gunicorn.glogging")
    return logging.Formatter(glogging.Logger.error_fmt, glogging.Logger.datefmt)


def gunicorn_record(h: str, r: str, status: int) -> logging.LogRecord:
    glogging = pytest.importorskip("gunicorn.glogging")
    atoms = glogging.SafeAtoms({"h": h, "r": r, "s": status, "{cookie}i": "secret", "D": 5})
    return make(('%(h)s "%(r)s" %(s)s %({accept}i)s %(x)s %(D)s', (atoms,)), {})


def django_formatter() -> logging.Formatter:
    log = pytest.importorskip("django.utils.log")
    if not log.settings.configured:
        log.settings.configure()
    made: logging.Formatter = log.ServerFormatter("[{server_time}] {message} {x}", style="{")
    return made


def uvicorn_formatter(kind: str) -> Callable[[], logging.Formatter]:
    def build() -> logging.Formatter:
        module = pytest.importorskip("uvicorn.logging")
        pattern = {
            "DefaultFormatter": "%(levelprefix)s %(message)s %(x)s",
            "AccessFormatter": "%(levelprefix)s %(client_addr)s %(request_line)s %(status_code)s",
        }[kind]
        made: logging.Formatter = getattr(module, kind)(pattern, use_colors=False)
        return made

    return build


def celery_formatter() -> logging.Formatter:
    module = pytest.importorskip("celery.app.log")
    made: logging.Formatter = module.TaskFormatter(
        "[%(asctime)s: %(levelname)s %(task_name)s %(task_id)s] %(message)s %(x)s", use_color=False
    )
    return made


odd = st.sampled_from([ValueError("bad", 1), Plain, [Plain, KeyError("a")]])
"""Of which python-json-logger knows how to write them, and not from their texts."""
with_x = st.builds(
    make, contents, st.builds(lambda more, x: more | {"x": x}, extras, values | odd)
)
plain_events = st.dictionaries(
    names, st.recursive(scalars | standard, lambda inner: st.lists(inner, max_size=3)), max_size=4
)
structlog_plain = st.builds(
    make,
    st.tuples(plain_events, st.just(())),
    st.fixed_dictionaries({"_logger": st.just(None), "_name": st.just("info")}),
)
structlog_record = st.builds(
    make,
    st.tuples(events, st.just(())),
    st.fixed_dictionaries({"_logger": st.just(None), "_name": st.just("info")}),
)
uvicorn_record = st.builds(
    lambda path, status: make(
        ('%s - "%s %s HTTP/%s" %d', ("127.0.0.1:5", "GET", "/" + path, "1.1", status)), {}
    ),
    texts,
    st.sampled_from([200, 404, 500, 599]),
)
django_record = st.builds(
    make, contents, st.fixed_dictionaries({"x": values, "server_time": st.just("now")})
)
CASES: dict[str, Case] = {
    "stdlib %": (stdlib("%"), with_x),
    "stdlib {": (stdlib("{"), with_x),
    "stdlib $": (stdlib("$"), with_x),
    "structlog JSON": (structlog_formatter("json"), structlog_plain),
    "structlog key and value": (structlog_formatter("key-value"), structlog_record),
    "structlog console": (structlog_formatter("console"), structlog_record),
    "structlog, foreign records": (structlog_formatter("key-value"), any_record),
    "python-json-logger": (json_logger, any_record),
    "gunicorn access": (
        gunicorn_formatter,
        st.builds(gunicorn_record, texts, texts, st.integers(100, 599)),
    ),
    "django server": (django_formatter, django_record),
    "uvicorn": (uvicorn_formatter("DefaultFormatter"), with_x),
    "uvicorn access": (uvicorn_formatter("AccessFormatter"), uvicorn_record),
    "celery task": (celery_formatter, with_x),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_near_and_far_print_the_same(name: str, data: st.DataObject) -> None:
    """Whatever is in the record, both lines are equal."""
    build, strategy = CASES[name]
    formatter = build()
    near = data.draw(strategy)
    expected, near_raises = "", False
    try:
        expected = line(formatter, near)
    except Exception:  # noqa: BLE001  # it cannot print this record here either
        near_raises = True
    assert near_raises or line(formatter, without_conveniences(ship(near))) == expected


def without_conveniences(record: logging.LogRecord) -> logging.LogRecord:
    """The record with its own extras only, as a filter would leave it."""
    known = arrival_of(record)
    assert known is not None
    for name in {*CONVENIENT} - known.shadowed:
        del record.__dict__[name]
    return record
