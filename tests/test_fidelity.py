"""The far side prints what the near side would have printed.

A record of any kind is taken, encoded, decoded and made a record again, and formatted by the same
standard `Formatter` on both sides. The promises differ by encoding in one thing: rows carry the
rendered message, so `msg` and `args` are not those of the near side.
"""

from __future__ import annotations

import logging
import string
import sys
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchudp_handler.core.payload.codec import (
    BatchHeader,
    compress,
    decode_payload,
    encode_compact,
    encode_rows,
)
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import render, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = BatchHeader("near.example.com", {})
PROVENANCE = {"remote_addr": ("192.0.2.1", 5), "received": 1.8e9, "authenticated": False}
LIMITS = DecodeLimits()

FORMATS = {
    "%": [
        "%(name)s",
        "%(levelno)d",
        "%(levelname)-8s",
        "%(pathname)s",
        "%(filename)s",
        "%(module)s",
        "%(lineno)d",
        "%(funcName)s",
        "%(created)f",
        "%(created)d",
        "%(asctime)s",
        "%(msecs)03d",
        "%(relativeCreated)d",
        "%(thread)d",
        "%(threadName)s",
        "%(taskName)s",
        "%(process)d",
        "%(processName)s",
        "%(message)s",
    ],
    "{": [
        "{name}",
        "{levelno:d}",
        "{levelname:<8}",
        "{pathname}",
        "{filename}",
        "{module}",
        "{lineno:>5}",
        "{funcName}",
        "{created:f}",
        "{asctime}",
        "{msecs:03.0f}",
        "{thread}",
        "{threadName!r}",
        "{taskName}",
        "{process:x}",
        "{processName}",
        "{message}",
    ],
    "$": [
        "$name",
        "${levelno}",
        "$levelname",
        "${pathname}",
        "$filename",
        "$module",
        "$lineno",
        "$funcName",
        "$asctime",
        "$msecs",
        "$thread",
        "$threadName",
        "${taskName}",
        "$process",
        "$processName",
        "$message",
    ],
}
if sys.version_info < (3, 12):
    FORMATS = {
        style: [field for field in fields if "taskName" not in field]
        for style, fields in FORMATS.items()
    }


def format_exception(exc_info: Any) -> str:
    """The text of an exception as every standard formatter makes it."""
    return logging.Formatter().formatException(exc_info)


def ship(
    shipped: list[logging.LogRecord],
    encode: Callable[..., bytes] = encode_compact,
    header: BatchHeader = HEADER,
) -> list[logging.LogRecord]:
    """The records as the far side has them."""
    snapshots = [snapshot(record, format_exception=format_exception) for record in shipped]
    codec, body = compress(encode(snapshots, header))
    batch = decode_payload(codec, body, LIMITS)
    assert len(batch) == len(shipped)
    return records(batch, PROVENANCE)


# What a program may log

words = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)
encodable = st.characters(codec="utf-8")
texts = st.text(encodable, max_size=20)
paths = st.one_of(
    st.builds("/".join, st.lists(st.text(encodable, min_size=1, max_size=8), min_size=1)),
    st.sampled_from(
        ["", "<stdin>", ".hidden", "a/.b.c.py", "C:\\x\\y.py", "x/..", "dir/", "a.b/c"]
    ),
)
scalars = st.one_of(
    texts,
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
)
objects = st.one_of(
    st.binary(max_size=8),
    st.datetimes(),
    st.decimals(),
    st.lists(st.integers(), max_size=3),
    st.tuples(texts),
    st.just(object),
    st.integers(10**300, 10**320),
)
conversions = st.sampled_from(
    [
        *("%s", "%r", "%a", "%d", "%i", "%5.1f", "%x", "%-8s|", "%03d", "%c", "%e", "%%", "%.2s"),
        *("%+d", "%1000d", "% d", "%#o", "%ld", "%*d", "%(x)s", "%", "%y"),
    ]
)
templates = st.lists(st.one_of(texts, conversions, conversions), max_size=6).map("".join)
templates_of_arity = st.integers(0, 4).map(lambda n: " ".join(["x %s"] * n))
messages = st.one_of(templates, templates_of_arity, texts, st.integers(), st.just(ValueError("v")))
arguments = st.one_of(
    st.just(()),
    st.lists(scalars, max_size=4).map(tuple),
    st.lists(st.one_of(scalars, objects), max_size=4).map(tuple),
    st.dictionaries(words, scalars, min_size=1, max_size=3).map(lambda mapping: (mapping,)),
)
seconds = st.one_of(
    st.floats(1e9, 2e9),
    st.floats(0, 4e9),
    st.builds(
        lambda whole, edge, nudge: whole + edge / 1000 + nudge * 2.0**-22,
        st.integers(1_500_000_000, 2_000_000_000),
        st.integers(0, 1000),
        st.integers(-5, 5),
    ),
)
names = st.one_of(words, texts.filter(bool), st.just("a.b.c"))
extras = st.dictionaries(
    words.map(lambda word: f"x_{word}"),
    st.one_of(scalars, objects, st.dictionaries(words, scalars)),
)


def raised(text: str, cause: bool) -> Any:
    """What `sys.exc_info` gives in an except clause."""
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            if not cause:
                raise
            raise RuntimeError(text) from error
    except (KeyError, RuntimeError):
        return sys.exc_info()


exceptions = st.one_of(
    st.none(),
    st.none(),
    st.builds(raised, texts, st.booleans()),
    st.just((None, None, None)),
)


@st.composite
def log_records(draw: st.DrawFn) -> logging.LogRecord:
    """A record as `Logger.makeRecord` builds it, at any time and place."""
    level = draw(st.one_of(st.sampled_from([10, 20, 30, 40, 50]), st.integers(-5, 2000)))
    record = logging.LogRecord(
        draw(names),
        level,
        draw(paths),
        draw(st.integers(0, 2**31)),
        draw(messages),
        draw(arguments),
        draw(exceptions),
        draw(st.one_of(st.none(), texts)),
        draw(st.one_of(st.none(), texts)),
    )
    if draw(st.booleans()):
        record.levelname = draw(words)
    _set_time(record, draw(seconds), draw(st.floats(0, 1e9)), draw(st.booleans()))
    record.thread = draw(st.integers(0, 2**63))
    record.threadName, record.processName = draw(texts), draw(texts)
    record.process = draw(st.integers(0, 2**32))
    if sys.version_info >= (3, 12):
        record.taskName = draw(st.one_of(st.none(), texts))
    for name, value in draw(extras).items():
        setattr(record, name, value)
    return record


def _set_time(record: logging.LogRecord, created: float, uptime: float, by_ns: bool) -> None:
    """As Python before 3.13 does, or as 3.13 does from nanoseconds."""
    record.created = created
    record.msecs = int((created - int(created)) * 1000) + 0.0
    record.relativeCreated = uptime
    if by_ns:
        ns = int(created * 1e9)
        record.created = ns / 1e9
        record.msecs = (ns % 10**9) // 10**6 + 0.0
        if record.msecs == 999.0 and int(record.created) != ns // 10**9:
            record.msecs = 0.0


@st.composite
def formatters(draw: st.DrawFn) -> logging.Formatter:
    """Any standard formatter over documented attributes."""
    style: Literal["%", "{", "$"] = draw(st.sampled_from(["%", "{", "$"]))
    fields = draw(st.lists(st.sampled_from(FORMATS[style]), min_size=1, max_size=8))
    date_format = draw(st.sampled_from([None, "%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]))
    formatter = logging.Formatter(" - ".join(fields), date_format, style)
    if draw(st.booleans()):
        formatter.default_msec_format = "%s.%03d"
    return formatter


def printed(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    """What a handler would print of a copy of the record, or None if it would raise."""
    copy = logging.makeLogRecord(record.__dict__)
    copy.__class__ = record.__class__
    try:
        return formatter.format(copy)
    except Exception:  # noqa: BLE001  # whatever a handler would hand to handleError
        return None


@pytest.mark.parametrize("encode", [encode_compact, encode_rows])
@settings(max_examples=300, deadline=None)
@given(shipped=st.lists(log_records(), min_size=1, max_size=5), formatter=formatters())
def test_far_side_prints_what_near_side_would(
    encode: Callable[..., bytes], shipped: list[logging.LogRecord], formatter: logging.Formatter
) -> None:
    """Any record, any standard formatter, both encodings: the same text on both sides."""
    expected = [printed(formatter, record) for record in shipped]
    before = [dict(record.__dict__) for record in shipped]
    arrived = ship(shipped, encode)
    for near, far in zip(expected, arrived, strict=True):
        text = formatter.format(far)
        if near is not None:
            assert near == text
    assert [dict(record.__dict__) for record in shipped] == before


@settings(max_examples=200, deadline=None)
@given(shipped=st.lists(log_records(), min_size=1, max_size=5))
def test_times_arrive_to_the_microsecond(shipped: list[logging.LogRecord]) -> None:
    """Second, microseconds, milliseconds and whole milliseconds of uptime are exact."""
    for near, far in zip(shipped, ship(shipped), strict=True):
        assert int(near.created) == int(far.created)
        assert f"{near.created:f}" == f"{far.created:f}"
        assert near.msecs == far.msecs
        assert int(near.relativeCreated) == int(far.relativeCreated)


plain_args = st.one_of(
    texts, st.integers(-(2**80), 2**80), st.floats(allow_nan=False, allow_infinity=False)
)


@settings(max_examples=200, deadline=None)
@given(args=st.lists(st.one_of(plain_args, st.booleans(), st.none()), min_size=1, max_size=5))
def test_template_and_arguments_arrive_apart(args: list[Any]) -> None:
    """`msg` and `args` of the far record are those of the near one, types and all."""
    template = "x %s" * len(args)
    near = logging.LogRecord("a", 20, "p.py", 1, template, tuple(args), None)
    (far,) = ship([near])
    assert far.msg == template
    assert far.args == near.args
    assert list(map(type, far.args or ())) == list(map(type, args))


class Raises:
    """No text to be had."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


class ReturnsNumber:
    """Breaks the rule that `__str__` gives a `str`."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307  # that is the point


class Recurses:
    """Its text needs its text."""

    def __repr__(self) -> str:
        return f"<{self!r}>"


class Text(str):
    """A `str` that is not exactly one."""

    __slots__ = ()


class Level(int):
    """An `int` that prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "a level"


def cyclic() -> list[Any]:
    """A list that contains itself, and a mapping that contains the list."""
    circle: list[Any] = [1]
    circle.append({"again": circle})
    return circle


def deep(depth: int) -> Any:
    """Lists within lists."""
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


SAME_TEXT = [
    pytest.param(value, id=name)
    for name, value in {
        "nan": float("nan"),
        "infinity": float("inf"),
        "negative infinity": -float("inf"),
        "negative zero": -0.0,
        "small float": 5e-324,
        "large float": 1.7976931348623157e308,
        "64 bits": 2**64 + 1,
        "299 digits": 10**298,
        "2000 digits": -(10**2000),
        "str subclass": Text("text"),
        "int subclass": Level(5),
        "bool": True,
        "none": None,
        "datetime": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "decimal": Decimal("1.50"),
        "path": PurePosixPath("/a/b"),
        "enum": HTTPStatus.NOT_FOUND,
        "bytes": b"\xff\x00",
        "exception": ValueError("bad", 1),
        "list": [1, "a", None, 2.5, True],
        "mapping": {"a": [1, {"b": None}]},
        "control characters": "\x00\x1b[31m\r\n\u2028",
        "astral": "\U0001f600 \u00e9",
    }.items()
]

NO_TEXT = [
    pytest.param(value, id=name)
    for name, value in {
        "repr raises": Raises(),
        "str returns a number": ReturnsNumber(),
        "repr recurses": Recurses(),
        "list of one that raises": [Raises()],
        "cycle": cyclic(),
        "deep": deep(5_000),
        "10,000 digits": 10**10_000,
        "a million items": [0] * 1_000_000,
        "300,000 characters": "x" * 300_000,
        "lone surrogate": "\ud800 and \udfff",
        "surrogates that would pair": "\ud83d\ude00",
        "lone surrogate in a list": ["\udc80"],
        "lone surrogate as a key": {"\udc80": 1},
        "number as a key": {1: 2, None: 3},
    }.items()
]


@pytest.mark.parametrize("encode", [encode_compact, encode_rows])
@pytest.mark.parametrize("value", SAME_TEXT)
def test_odd_value_prints_the_same(value: Any, encode: Callable[..., bytes]) -> None:
    """As an argument and as an extra, a value prints at the far side as it does here."""
    near = logging.LogRecord("a", 20, "p.py", 1, "got %s", (value,), None)
    near.value = value
    formatter = logging.Formatter("%(message)s %(value)s")
    (far,) = ship([near], encode)
    assert formatter.format(far) == printed(formatter, near)


@pytest.mark.parametrize("encode", [encode_compact, encode_rows])
@pytest.mark.parametrize("value", SAME_TEXT + NO_TEXT)
def test_no_record_is_lost_to_an_odd_value(value: Any, encode: Callable[..., bytes]) -> None:
    """Whatever an argument, a message or an extra is, all records of the batch arrive."""
    good = logging.LogRecord("a", 20, "p.py", 1, "%s is good", ("this",), None)
    odd = logging.LogRecord("a", 20, "p.py", 1, "got %s", (value,), None)
    message = logging.LogRecord("a", 20, "p.py", 1, value, (), None)
    odd.value = value
    arrived = ship([good, odd, message, good], encode)
    printable = [logging.Formatter("%(message)s").format(record) for record in arrived]
    assert printable[0] == printable[3] == "this is good"
    assert printable[1].startswith("got ")
    assert hasattr(arrived[1], "value")
    assert all(text.encode() for text in printable)


ODD = {
    "none": None,
    "empty": "",
    "text": "text",
    "5": 5,
    "negative": -1,
    "bool": True,
    "float": 2.5,
    "401 digits": 10**400,
    "nan": float("nan"),
    "infinity": float("inf"),
    "huge float": -1e300,
    "str subclass": Text("sub"),
    "int subclass": Level(7),
    "list": ["list"],
    "mapping": {"a": 1},
    "tuple": ("tuple",),
    "repr raises": Raises(),
    "lone surrogate": "\ud800",
    "long": "x" * 5_000,
}


@pytest.mark.parametrize("encode", [encode_compact, encode_rows])
@pytest.mark.parametrize(
    "field",
    [
        *("name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName"),
        *("process", "processName", "thread", "threadName", "taskName", "created", "msecs"),
        *("relativeCreated", "exc_text", "stack_info", "hostname"),
    ],
)
@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in ODD.items()])
def test_no_record_is_lost_to_an_odd_attribute(
    field: str, value: Any, encode: Callable[..., bytes]
) -> None:
    """Any attribute may hold anything, and a formatter that asks for all can still print it."""
    near = logging.LogRecord("a", 20, "p.py", 1, "good %s", ("x",), None)
    setattr(near, field, value)
    arrived = ship([near, logging.LogRecord("a", 20, "p.py", 1, "other", (), None)], encode)
    every = logging.Formatter(" ".join([name for name in FORMATS["%"] if "taskName" not in name]))
    texts = [every.format(record) for record in arrived]
    assert "good x" in texts[0]
    assert texts[1].encode()


def test_object_that_logs_itself_costs_no_more_than_a_few_records() -> None:
    """An argument whose repr logs the argument twice does not multiply without bound."""
    taken: list[object] = []

    class LogsItself:
        def __repr__(self) -> str:
            for _ in range(2):
                inner = logging.LogRecord("a", 20, "p.py", 1, "inner %s", (self,), None)
                taken.append(snapshot(inner, format_exception=format_exception))
            return "done"

    outer = logging.LogRecord("a", 20, "p.py", 1, "outer %s", (LogsItself(),), None)
    assert render(snapshot(outer, format_exception=format_exception) or ()) == "outer done"
    assert len(taken) < 40


def test_lone_surrogates_arrive_escaped() -> None:
    """A message that no UTF-8 file could store arrives as `backslashreplace` would print it."""
    near = logging.LogRecord(
        "a", 20, "p.py", 1, "%5s|%s|%r", ("\udcff", "\ud83d\ude00", "\ud83d"), None
    )
    (far,) = ship([near])
    assert far.getMessage() == near.getMessage().encode("utf-8", "backslashreplace").decode()


def test_format_that_does_not_fit_is_shown_with_its_arguments() -> None:
    """What the near side could not print at all is readable at the far side."""
    near = logging.LogRecord("a", 20, "p.py", 1, "%d items of %s", ("many",), None)
    assert [far.getMessage() for far in ship([near])] == ["%d items of %s ('many',)"]
    assert [far.getMessage() for far in ship([near], encode_rows)] == ["%d items of %s ('many',)"]


def test_time_that_rounds_up_to_a_second_keeps_its_second() -> None:
    """`asctime` of a time half a microsecond before midnight is that of the old day."""
    near = logging.LogRecord("a", 20, "p.py", 1, "x", (), None)
    near.created, near.msecs = 1_700_000_000 - 2.0**-22, 999.0
    (far,) = ship([near])
    formatter = logging.Formatter("%(asctime)s %(created)f %(created)d")
    assert formatter.format(far) == formatter.format(near)


def test_static_fields_become_attributes() -> None:
    """A field of the sender is on every record; an extra of the same name wins."""
    near = logging.LogRecord("a", 20, "p.py", 1, "x", (), None)
    near.region = "eu"
    header = BatchHeader("near", {"region": "us", "service": {"name": "shop"}, "name": "no"})
    for encode in (encode_compact, encode_rows):
        (far,) = ship([near], encode, header)
        fields = vars(far)
        assert (fields["region"], fields["service"]) == ("eu", {"name": "shop"})
        assert (fields["name"], fields["name_"]) == ("a", "no")


@pytest.mark.parametrize(
    "fields",
    [{"a": float("nan")}, {"a": "\ud800"}, {"a": cyclic()}, {"a": {1, 2}}, {"a": 10**5000}],
    ids=["nan", "lone surrogate", "cycle", "set", "5000 digits"],
)
def test_odd_static_fields_cost_no_record(fields: dict[str, Any]) -> None:
    """A static field that JSON cannot hold arrives as text."""
    near = logging.LogRecord("a", 20, "p.py", 1, "x", (), None)
    for encode in (encode_compact, encode_rows):
        (far,) = ship([near], encode, BatchHeader("near", fields))
        assert vars(far)["a"]
