"""The members of a compact payload that say types, shapes and exceptions."""

from __future__ import annotations

import json
import logging
import sys
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import BatchHeader, decode_payload, encode_compact
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Batch

TYPED_MEMBERS = ("typed", "shape", "error")
format_exception = logging.Formatter().formatException


def record(message: object = "text", *args: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", 20, "/x/y.py", 3, message, args, None, "f")
    made.__dict__.update(attributes)
    return made


def raised() -> Any:
    try:
        return 1 / 0
    except ZeroDivisionError:
        return sys.exc_info()


def document(*near: logging.LogRecord) -> dict[str, Any]:
    snapshots = [snapshot(each, format_exception=format_exception) or () for each in near]
    parsed: dict[str, Any] = json.loads(encode_compact(snapshots, BatchHeader("near", {})))
    return parsed


def read(parsed: dict[str, Any], limits: DecodeLimits | None = None) -> Batch:
    return decode_payload(0, json.dumps(parsed).encode(), limits or DecodeLimits())


def made(batch: Batch) -> list[logging.LogRecord]:
    return records(batch, {"received": 1.0}, restore_exceptions=True)


NEAR = [
    record(),
    record({"event": "paid", "on": date(2026, 1, 2)}),
    record("%(a)s: %(b)d", {"a": "x", "b": 2}),
    record(due=date(2026, 1, 2), total=5, points=(1, 2)),
    record(due="today", total=Decimal("1.5")),
    record("failed", exc_info=raised()),
]


def test_all_of_it_arrives() -> None:
    """Types, shapes and exceptions, each with the record that it belongs to."""
    far = made(read(document(*NEAR)))
    assert [each.msg for each in far[:3]] == ["text", NEAR[1].msg, "%(a)s: %(b)d"]
    assert far[2].args == {"a": "x", "b": 2}
    assert [vars(far[3])[name] for name in ("due", "total", "points")] == [
        date(2026, 1, 2),
        5,
        (1, 2),
    ]
    assert [vars(far[4])[name] for name in ("due", "total")] == ["today", Decimal("1.5")]
    assert [each.exc_info is not None for each in far] == [*[False] * 5, True]


def test_a_reader_that_knows_nothing_of_it_has_every_record() -> None:
    """The same texts, and extras as texts, arrays and objects."""
    parsed = document(*NEAR)
    for member in TYPED_MEMBERS:
        del parsed[member]
    batch = read(parsed)
    assert (batch.malformed, batch.fields_refused) == (0, 0)
    far = made(batch)
    assert [each.getMessage() for each in far] == [each.getMessage() for each in NEAR]
    assert vars(far[3])["due"] == "2026-01-02"
    assert vars(far[3])["points"] == [1, 2]
    assert vars(far[4])["total"] == "1.5"
    assert "ZeroDivisionError" in (far[5].exc_text or "")


def test_records_without_types_say_nothing_of_them() -> None:
    """They take no more bytes than before."""
    parsed = document(record(), record("%s", 1, user={"id": [1, None]}))
    assert not parsed.keys() & set(TYPED_MEMBERS)


def test_every_record_may_have_a_typed_value() -> None:
    """Then no rows are said for the extra."""
    far = made(read(document(record(n=Decimal(1)), record(n=Decimal(2)))))
    assert [vars(each)["n"] for each in far] == [Decimal(1), Decimal(2)]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("typed", []),
        ("typed", {"due": 5}),
        ("typed", {"due": [[99], [1]]}),
        ("typed", {"due": [[0], []]}),
        ("shape", {}),
        ("shape", [[-1], [["tuple"]]]),
        ("error", [[0], [1], [2]]),
    ],
)
def test_columns_that_disagree_are_refused(member: str, value: object) -> None:
    """As everywhere in a compact payload."""
    with pytest.raises(DecodeError) as caught:
        read({**document(*NEAR), member: value})
    assert caught.value.reason is Reason.SHAPE


@pytest.mark.parametrize(
    "node",
    [["decimal", "x"], ["os.system", "x"], ["list", "x" * 100_000], [[]], ["set", ["list"]]],
)
def test_a_wrong_value_keeps_the_plain_one(node: object) -> None:
    """The extra is there, as those see it who know no types."""
    parsed = document(*NEAR)
    parsed["typed"]["due"] = [[3], [node]]
    (_, _, _, far, *_) = made(read(parsed))
    assert vars(far)["due"] == "2026-01-02"


def test_a_typed_value_makes_no_extra() -> None:
    """A value for an extra or a record that has none is ignored."""
    parsed = document(*NEAR)
    parsed["typed"] = {"new": [[0], [1]], "due": [[0], [["decimal", "1"]]], "": [[0], [1]]}
    far = made(read(parsed))
    assert not {"new", "due", ""} & set(vars(far[0]))


@pytest.mark.parametrize(
    "node",
    [
        ["tuple", {"event": "other"}, ["tuple"]],
        ["tuple", "{'event': 'paid', 'on': datetime.date(2026, 1, 2)}", ["tuple"]],
        ["tuple", "%(a)s", {"a": "other"}],
        ["tuple", "%(a)999999d", {"a": 1}],
        ["tuple", "%(a)c", {"a": 1}],
        ["tuple", "%s" * 400, {"a": "x" * 5_000}],
        ["tuple", "%(a)s" * 200, {"a": "x" * 5_000}],
        ["tuple", "%(a)d", {"a": "x"}],
        ["tuple", "%(a)s", ["list", 1]],
        ["tuple", "%(a)s", {}],
        ["tuple", "x" * 2_000 + "%(a)s", {"a": 1}],
        ["tuple", 1],
        ["list", {}, ["tuple"]],
        "text",
        None,
    ],
    ids=range(15),
)
def test_a_shape_that_prints_something_else_is_not_used(node: object) -> None:
    """The text counts: no format string from the network does what it likes."""
    parsed = document(*NEAR)
    parsed["shape"] = [[1], [node]]
    far = made(read(parsed))
    assert far[1].msg == str(NEAR[1].msg)
    assert far[1].args == ()


def test_a_shape_for_a_template_is_not_used() -> None:
    """What travels with its arguments has a shape already."""
    parsed = document(record("%s", "x"))
    parsed["shape"] = [[0], [["tuple", ["list", "x"], ["tuple"]]]]
    (far,) = made(read(parsed))
    assert (far.msg, far.args) == ("%s", ("x",))


def test_types_that_the_budget_does_not_allow_are_left_out() -> None:
    """No record is refused for its types."""
    near = [record({"event": number}, when=date(2026, 1, 2)) for number in range(1_000)]
    near += [record("failed", exc_info=raised()) for _ in range(24)]
    far = made(read(document(*near), DecodeLimits(work=20_000_000)))
    assert len(far) == 1_024
    assert [type(far[row].msg) for row in (0, 999)] == [dict, str]
    assert far[-1].exc_info is None
    whole = made(read(document(*near)))
    assert [type(whole[row].msg) for row in (0, 999)] == [dict, dict]
    assert type(vars(whole[999])["when"]) is date
    assert whole[-1].exc_info is not None


def test_types_that_would_print_too_much_refuse_the_payload() -> None:
    """A few characters that stand for much: the same as where it is said without types."""
    digits = ["decimal", "1"]
    parsed = document(record(due="today"))
    parsed["typed"] = {"due": [[0], [["list", *[digits] * 20]]]}
    assert read(parsed).fields_refused == 0
    size = len(json.dumps(parsed))
    with pytest.raises(DecodeError) as caught:
        read(parsed, DecodeLimits(inflated_bytes=size, output_factor=8))
    assert caught.value.reason is Reason.OUTPUT_LIMIT
