"""Arrays of entries: ours, and what other programs take for a log record."""

from __future__ import annotations

import json
import logging
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import BatchHeader, decode_payload, encode_rows
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Batch

LIMITS = DecodeLimits()
ARRIVAL = 1_800_000_000.5


def read(document: object, limits: DecodeLimits = LIMITS) -> Batch:
    return decode_payload(0, json.dumps(document).encode(), limits)


def one(**entry: object) -> logging.LogRecord:
    """The record that a lone object becomes."""
    (record,) = records(read(entry), {"received": ARRIVAL})
    return record


# Ours


def test_entry_has_the_names_of_logrecord() -> None:
    """The members of an entry, for whoever reads it without us."""
    record = logging.LogRecord("a.b", 30, "/x/y.py", 3, "hello %s", ("you",), None, "f")
    record.user = {"id": 5}
    record.exc_text, record.stack_info = "Traceback", "Stack"
    if sys.version_info >= (3, 12):
        record.taskName = "Task-1"
    snap = snapshot(record, format_exception=str)
    assert snap is not None
    (entry,) = json.loads(encode_rows([snap], BatchHeader("near", {"service": "shop"})))
    expected = {
        name: value
        for name, value in vars(record).items()
        if name not in {"msg", "args", "exc_info", "user"}
    }
    expected.setdefault("taskName", None)
    expected |= {"message": "hello you", "hostname": "near"}
    assert entry == {**expected, "extra": {"service": "shop", "user": {"id": 5}}}


def test_short_entry_leaves_out_what_is_empty() -> None:
    """No extras, exception, stack or hops: no members for them."""
    snap = snapshot(logging.LogRecord("a", 20, "p", 1, "x", (), None), format_exception=str)
    assert snap is not None
    (entry,) = json.loads(encode_rows([snap], BatchHeader("near", {})))
    assert not {"extra", "exc_text", "stack_info", "hops"} & set(entry)


@pytest.mark.parametrize(
    ("attributes", "member", "said"),
    [
        ({"name": "n" * 300}, "name", "n" * 252 + "..."),
        ({"created": -1.0}, "created", 0.0),
        ({"msecs": float("nan")}, "msecs", 0.0),
        ({"threadName": "\ud800"}, "threadName", "\ud800"),
        ({"size": 10**400}, "extra", {"size": str(10**400)}),
        ({"due": date(2026, 1, 2)}, "extra", {"due": "2026-01-02"}),
    ],
    ids=["name", "time", "milliseconds", "surrogate", "long number", "type"],
)
def test_what_json_or_readers_refuse_is_said_as_they_take_it(
    attributes: dict[str, Any], member: str, said: object
) -> None:
    """The record arrives, and so do its neighbours."""
    near = [logging.LogRecord("a", 20, "p", 1, text, (), None) for text in ("a", "b", "c")]
    vars(near[1]).update({"created": 5.0, "msecs": 0.0, **attributes})
    snaps = [snapshot(record, format_exception=str) or () for record in near]
    payload = encode_rows(snaps, BatchHeader("near", {}))
    assert json.loads(payload)[1][member] == said
    far = records(decode_payload(0, payload, LIMITS), {})
    assert [record.getMessage() for record in far] == ["a", "b", "c"]


# Others'


def test_line_from_netcat_is_a_record() -> None:
    """A message and a level are enough; all that a formatter may ask for is there."""
    record = one(message="hi", level="warning")
    assert (record.name, record.levelno, record.levelname) == ("root", 30, "WARNING")
    assert (record.getMessage(), record.args, record.created) == ("hi", (), ARRIVAL)
    text = "%(pathname)s%(lineno)d%(thread)d%(process)d%(msecs)03d%(relativeCreated)d%(funcName)s"
    assert logging.Formatter(text).format(record) == "0005000"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"message": "a"}, "a"),
        ({"msg": "a"}, "a"),
        ({"message": None, "msg": "b"}, "b"),
        ({"msg": "100%s", "args": [1]}, "100%s"),
        ({"message": 5}, "5"),
        ({"message": {"event": "x"}}, '{"event":"x"}'),
        ({"message": ""}, ""),
    ],
    ids=range(7),
)
def test_names_of_the_message(entry: dict[str, Any], message: str) -> None:
    """`message` or `msg`, of any type; it is never used as a format."""
    assert one(**entry).getMessage() == message


@pytest.mark.parametrize(
    ("entry", "level"),
    [
        ({}, (20, "INFO")),
        ({"level": "ERROR"}, (40, "ERROR")),
        ({"level": "warn"}, (30, "WARNING")),
        ({"level": "err"}, (40, "ERROR")),
        ({"level": "Fatal"}, (50, "CRITICAL")),
        ({"level": 10}, (10, "DEBUG")),
        ({"level": "30"}, (30, "WARNING")),
        ({"level": 25}, (25, "Level 25")),
        ({"level": "audit"}, (20, "audit")),
        ({"levelno": 25, "levelname": "AUDIT"}, (25, "AUDIT")),
        ({"levelno": 25, "level": "audit"}, (25, "audit")),
        ({"levelname": "DEBUG"}, (10, "DEBUG")),
        ({"levelno": 40}, (40, "ERROR")),
        ({"levelno": True}, (20, "INFO")),
        ({"levelno": 10**9}, (20, "INFO")),
        ({"levelno": "high", "level": [1]}, (20, "INFO")),
        ({"level": None, "levelname": None}, (20, "INFO")),
    ],
    ids=range(17),
)
def test_names_of_the_level(entry: dict[str, Any], level: tuple[int, str]) -> None:
    """Number or name, under the usual names; an unknown one is kept as INFO's name."""
    record = one(message="x", **entry)
    assert (record.levelno, record.levelname) == level


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"name": "a.b"}, "a.b"),
        ({"logger": "a"}, "a"),
        ({"source": "a"}, "a"),
        ({"name": 5}, "root"),
        ({"name": ""}, ""),
    ],
    ids=range(5),
)
def test_names_of_the_logger(entry: dict[str, Any], name: str) -> None:
    """`name`, `logger` or `source`."""
    assert one(message="x", **entry).name == name


@pytest.mark.parametrize(
    ("value", "created"),
    [
        (1_700_000_000, 1_700_000_000.0),
        (1_700_000_000.25, 1_700_000_000.25),
        (1_700_000_000_250, 1_700_000_000.25),
        (1_700_000_000_250_000, 1_700_000_000.25),
        (1_700_000_000_250_000_000, 1_700_000_000.25),
        ("2023-11-14T22:13:20.250Z", 1_700_000_000.25),
        ("2023-11-14T22:13:20+00:00", 1_700_000_000.0),
        ("2023-11-14 23:13:20+01:00", 1_700_000_000.0),
        ("2023-11-14T22:13:20", 1_700_000_000.0),
        (" 2023-11-14 ", 1_699_920_000.0),
        ("yesterday", ARRIVAL),
        ("9999-12-31T23:59:59Z", ARRIVAL),
        ("0001-01-01T00:00:00+14:00", ARRIVAL),
        (-1, ARRIVAL),
        (True, ARRIVAL),
        (1e300, ARRIVAL),
        (10**299, ARRIVAL),
        ([1], ARRIVAL),
        (None, ARRIVAL),
    ],
    ids=range(19),
)
def test_forms_of_the_time(value: object, created: float) -> None:
    """Epoch in any unit, or ISO 8601; without a usable one, the time of receipt."""
    for name in ("created", "timestamp", "time", "@timestamp"):
        record = one(message="x", **{name: value})
        assert record.created == created
        assert record.msecs == int(created % 1 * 1000)


def test_members_nobody_knows_become_extras() -> None:
    """Fields beside the message are attributes, as those in `extra` are, which win."""
    fields = vars(one(message="x", user="bob", extra={"n": 1, "user": "eve"}, exc_info="forged"))
    assert (fields["user"], fields["n"], fields["exc_info"]) == ("eve", 1, None)


@pytest.mark.parametrize("extra", ["text", 5, [1], True])
def test_extra_that_is_no_object_is_left_out(extra: object) -> None:
    """It is counted, and the members beside it are kept."""
    batch = read({"message": "x", "user": "bob", "extra": extra})
    (record,) = records(batch, {})
    assert (vars(record)["user"], hasattr(record, "extra")) == ("bob", False)
    assert (batch.fields_refused, batch.malformed) == (1, 0)


def test_host_exception_and_stack() -> None:
    """`host` or `hostname`; texts of exception and stack must be texts."""
    record = one(message="x", host="web", exc_text="Boom", stack_info=["no"])
    assert (vars(record)["hostname"], record.exc_text, record.stack_info) == ("web", "Boom", None)


@pytest.mark.parametrize("entry", [5, "text", None, [], {}, {"level": "info"}, {"message": None}])
def test_entry_that_is_no_record_costs_itself_only(entry: object) -> None:
    """What has no message is counted, and its neighbours are kept."""
    batch = read([{"message": "a"}, entry, {"message": "b"}])
    assert [record.getMessage() for record in records(batch, {})] == ["a", "b"]
    assert (len(batch), batch.malformed) == (2, 1)


@pytest.mark.parametrize("field", ["process", "thread", "lineno", "hops", "relativeCreated"])
@pytest.mark.parametrize("value", [None, "x", True, -(10**30), 10**30, 1e300, [1]], ids=repr)
def test_numbers_of_the_wrong_kind_are_zero(field: str, value: object) -> None:
    """A format with %d works with whatever was sent."""
    fields = vars(one(message="x", **{field: value}))
    assert fields[field] == (1 if field == "hops" else 0)


@pytest.mark.parametrize("document", [5, "text", None, True])
def test_document_that_is_no_record(document: object) -> None:
    """A lone value is one entry that is none."""
    assert (len(read(document)), read(document).malformed) == (0, 1)


def test_number_of_entries_is_limited() -> None:
    """An array beyond the limit, and one without entries, is refused as a whole."""
    with pytest.raises(DecodeError) as caught:
        read([{"message": "x"}] * 3, DecodeLimits(records=2))
    assert caught.value.reason is Reason.TOO_MANY_RECORDS
    with pytest.raises(DecodeError) as caught:
        read([])
    assert caught.value.reason is Reason.SHAPE


def test_long_fields_are_cut_and_counted() -> None:
    """Every text of an entry has a bound."""
    limits = DecodeLimits(text_characters=30, name_characters=20, extra_characters=25)
    entry = dict.fromkeys(("message", "name", "threadName", "exc_text", "note"), "x" * 100)
    batch = read(entry, limits)
    (record,) = records(batch, {})
    assert batch.truncated == 5
    assert max(len(value) for value in vars(record).values() if isinstance(value, str)) < 70


def test_too_many_extras_are_counted() -> None:
    """A record keeps as many extras as are allowed."""
    batch = read(
        {"message": "x", "extra": {f"x{i}": i for i in range(10)}}, DecodeLimits(extras=4)
    )
    assert batch.fields_refused == 6
    assert len(batch.extras) == 4
