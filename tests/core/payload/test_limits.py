"""Every limit on a payload is exact: one below, at, and one above."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.records.batch import Batch

ROOMY = DecodeLimits(
    inflated_bytes=1 << 20,
    text_characters=1_000,
    extra_characters=200,
    table_characters=500,
    template_characters=500,
)
"""Small enough that no test takes long; each test changes one of them."""


def compact(count: int = 1, **members: object) -> bytes:
    """A compact payload of so many records, with some members replaced."""
    payload: dict[str, object] = {
        "host": "h",
        "time": 1_700_000_000_000_000,
        "sites": [["n", 20, "INFO", "/x.py", 1, "f", None, 0]],
        "origins": [[1, "p", 1, "t", None]],
        "site": [0] * count,
        "delta": [0] * (count - 1),
        "values": [[["text"] * count]],
        **members,
    }
    return json.dumps(payload).encode()


def site(**changes: object) -> list[object]:
    """The row of a call site."""
    names = ("name", "levelno", "levelname", "pathname", "lineno", "funcName", "template", "nargs")
    values = ("n", 20, "INFO", "/x.py", 1, "f", None, 0)
    return list({**dict(zip(names, values, strict=True)), **changes}.values())


def row(**members: object) -> bytes:
    """A record as any JSON sender writes it."""
    return json.dumps({"message": "m", **members}).encode()


def refusal(payload: bytes, limits: DecodeLimits, codec: Codec = Codec.JSON) -> Reason | None:
    """Why a payload is refused as a whole; None if it is not."""
    try:
        decode_payload(codec, payload, limits)
    except DecodeError as error:
        return error.reason
    return None


# --- limits that refuse the payload -------------------------------------------------------------


def inflated(size: int) -> bytes:
    """A compressed payload of exactly so many bytes."""
    text = row(x="")
    return zlib.compress(text[:-2] + b"y" * (size - len(text)) + text[-2:])


WHOLE: dict[str, tuple[int, Callable[[int], bytes], Codec, Reason]] = {
    "inflated_bytes": (300, inflated, Codec.ZLIB, Reason.INFLATE_LIMIT),
    "records": (10, compact, Codec.JSON, Reason.TOO_MANY_RECORDS),
    "sites": (
        5,
        lambda count: compact(sites=[site()] * count, values=[[["text"]]] + [[[]]] * (count - 1)),
        Codec.JSON,
        Reason.SHAPE,
    ),
    "json_depth": (12, lambda depth: row(extra={"k": nested(depth - 2)}), Codec.JSON, Reason.JSON),
    "table_characters": (
        20,
        lambda size: compact(strings=["s" * size], values=[[{"of": [0]}]]),
        Codec.JSON,
        Reason.INFLATE_LIMIT,
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_payload_beyond_the_limit_is_refused(name: str) -> None:
    """One below and at the limit it is read; one above it is refused for this reason."""
    limit, make, codec, reason = WHOLE[name]
    changed: dict[str, Any] = {name: limit}
    limits = replace(ROOMY, **changed)
    assert refusal(make(limit - 1), limits, codec) is None
    assert refusal(make(limit), limits, codec) is None
    assert refusal(make(limit + 1), limits, codec) is reason


def test_a_list_of_rows_has_the_same_limit_of_records() -> None:
    """Whichever way a batch is written."""
    limits = replace(ROOMY, records=10)
    for count, reason in ((9, None), (10, None), (11, Reason.TOO_MANY_RECORDS)):
        assert refusal(json.dumps([{"message": "m"}] * count).encode(), limits) is reason


# --- limits that cost a record, a field or the end of a text -----------------------------------


def loss(batch: Batch) -> tuple[int, int, int, int]:
    """Records refused, fields left out, texts cut, templates shown as they are."""
    return batch.malformed, batch.fields_refused, batch.truncated, batch.templates_refused


NOTHING, BAD, LEFT_OUT, CUT = (0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)


def nested(depth: int) -> Any:
    """Lists in lists, so many in all."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def with_args(count: int) -> bytes:
    """A record with so many arguments."""
    template = "%s" * count
    return compact(sites=[site(template=template, nargs=count)], values=[[[1]] * count])


def with_template(size: int) -> bytes:
    """A record with a template of so many characters."""
    template = "%s".ljust(size, "t")
    return compact(sites=[site(template=template, nargs=1)], values=[[[1]]])


PARTS: dict[str, list[tuple[int, Callable[[int], bytes], tuple[int, int, int, int]]]] = {
    "args": [(3, with_args, BAD)],
    "template_characters": [(20, with_template, BAD)],
    "text_characters": [
        (50, lambda size: row(message="m" * size), CUT),
        (50, lambda size: row(exc_text="m" * size), CUT),
        (50, lambda size: row(stack_info="m" * size), CUT),
        (50, lambda size: compact(values=[[["m" * size]]]), CUT),
        (50, lambda size: compact(exc=[[0], ["m" * size]]), CUT),
        (50, lambda size: compact(stack=[[0], ["m" * size]]), CUT),
    ],
    "name_characters": [
        (20, lambda size: row(name="m" * size), CUT),
        (20, lambda size: row(threadName="m" * size), CUT),
        (20, lambda size: row(levelname="m" * size), CUT),
        (20, lambda size: row(hostname="m" * size), CUT),
        (20, lambda size: compact(sites=[site(name="m" * size)]), CUT),
        (20, lambda size: compact(sites=[site(funcName="m" * size)]), CUT),
        (20, lambda size: compact(origins=[[1, "m" * size, 1, "t", None]]), CUT),
        (20, lambda size: compact(host="m" * size), CUT),
    ],
    "path_characters": [
        (30, lambda size: row(pathname="/".ljust(size, "/")), CUT),
        (30, lambda size: compact(sites=[site(pathname="/".ljust(size, "/"))]), BAD),
    ],
    "extras": [
        (4, lambda count: row(extra={f"k{number}": 1 for number in range(count)}), LEFT_OUT),
        (
            4,
            lambda count: row(a=1, extra={f"k{number}": 1 for number in range(count - 1)}),
            LEFT_OUT,
        ),
        (
            4,
            lambda count: compact(extra={f"k{number}": [[0], [1]] for number in range(count)}),
            LEFT_OUT,
        ),
        (4, lambda count: compact(static={f"k{number}": 1 for number in range(count)}), LEFT_OUT),
    ],
    "extra_names": [
        (
            4,
            lambda count: compact(
                count, extra={f"k{number}": [[number], [1]] for number in range(count)}
            ),
            LEFT_OUT,
        ),
    ],
    "extra_characters": [
        (40, lambda size: row(extra={"k": "v" * size}), CUT),
        (40, lambda size: row(extra={"k": ["v" * (size - 2)]}), LEFT_OUT),
        (40, lambda size: compact(extra={"k": [[0], ["v" * size]]}), CUT),
    ],
    "extra_depth": [
        (5, lambda depth: row(extra={"k": nested(depth)}), LEFT_OUT),
        (5, lambda depth: compact(extra={"k": [[0], [nested(depth)]]}), LEFT_OUT),
    ],
    "levelno": [
        (500, lambda number: compact(sites=[site(levelno=number)]), BAD),
        (500, lambda number: compact(sites=[site(levelno=-number)]), BAD),
    ],
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_beyond_the_limit_is_cut_or_left_out(name: str) -> None:
    """One below and at the limit nothing is lost; one above it exactly one thing is, counted."""
    for limit, make, expected in PARTS[name]:
        changed: dict[str, Any] = {name: limit}
        limits = replace(ROOMY, **changed)
        found = [
            loss(decode_payload(Codec.JSON, make(size), limits))
            for size in (limit - 1, limit, limit + 1)
        ]
        assert found == [NOTHING, NOTHING, expected]


def test_a_cut_text_keeps_what_the_limit_allows() -> None:
    """The beginning, and a marker that says how much is missing."""
    limits = replace(ROOMY, text_characters=50)
    batch = decode_payload(Codec.JSON, row(message="m" * 61), limits)
    (record,) = records(batch, {})
    assert record.getMessage() == "m" * 50 + "… [truncated 11 characters]"


def test_a_level_of_a_row_beyond_the_limit_is_none() -> None:
    """A row without a level that can be used is at INFO."""
    limits = replace(ROOMY, levelno=500)
    levels = []
    for number in (499, 500, 501):
        (record,) = records(decode_payload(Codec.JSON, row(levelno=number), limits), {})
        levels.append(record.levelno)
    assert levels == [499, 500, 20]


def test_no_limit_is_without_a_test() -> None:
    """A limit that is added later is missed here. Some are tested where what they need is."""
    elsewhere = {"zstd_window_log", "logger_components", "output_factor", "work", "gelf"}
    assert {*WHOLE, *PARTS, *elsewhere} == {field.name for field in fields(DecodeLimits)}
