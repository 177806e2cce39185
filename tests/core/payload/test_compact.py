"""The compact encoding: what it says once, and what it must not leave out."""

from __future__ import annotations

import json
import logging
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.payload.codec import (
    BatchHeader,
    compress,
    decode_payload,
    encode_compact,
)
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.records.snapshot import snapshot

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import Snapshot

HEADER = BatchHeader("web-1", {})
START = 1_700_000_000.0


def taken(
    message: object = "user %s did %s in %d ms",
    args: tuple[object, ...] = ("alice", "login", 12),
    *,
    line: int = 114,
    at: float = 0.0,
    **attributes: object,
) -> Snapshot:
    record = logging.LogRecord("shop", 20, "/srv/shop/views.py", line, message, args, None, "run")
    record.created = START + at
    record.msecs = float(int(record.created % 1 * 1000))
    record.relativeCreated = 5_000.0 + at * 1000
    record.process, record.thread = 7, 9
    record.__dict__.update(attributes)
    snap = snapshot(record, format_exception=str)
    assert snap is not None
    return snap


def document(*snaps: Snapshot, header: BatchHeader = HEADER) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(encode_compact(snaps, header))
    return parsed


def test_one_record_says_only_what_it_needs() -> None:
    """The members of the simplest payload, all of them."""
    assert document(taken()) == {
        "host": "web-1",
        "time": 1_700_000_000_000_000,
        "start": 1_699_999_995_000_000,
        "delta": [],
        "sites": [
            [
                *("shop", 20, "INFO", "/srv/shop/views.py", 114, "run"),
                *("user %s did %s in %d ms", 3),
            ]
        ],
        "origins": [[7, "MainProcess", 9, "MainThread", None]],
        "site": [0],
        "values": [[["alice"], ["login"], [12]]],
    }


def test_call_sites_are_said_once() -> None:
    """Records refer to sites by number, and each site has its own columns."""
    said = document(taken(), taken("x %s", (1,), line=5), taken(at=0.25), taken("text", ()))
    assert said["site"] == [0, 1, 0, 2]
    assert said["delta"] == [0, 250_000, -250_000]
    assert said["values"][1:] == [[[1]], [["text"]]]
    assert said["sites"][2][6:] == [None, 0]


def test_repeated_strings_are_numbers_into_a_table() -> None:
    """A column of strings that repeat refers to one table; one of others does not."""
    snaps = [taken("%s %s", (f"user{i % 2}", f"id{i}")) for i in range(10)]
    said = document(*snaps)
    assert said["strings"] == ["user0", "user1"]
    assert said["values"][0][0] == {"of": [0, 1] * 5}
    assert said["values"][0][1] == [f"id{i}" for i in range(10)]


def test_long_strings_stay_out_of_the_table() -> None:
    """What multiplies at the receiver is short."""
    said = document(*[taken("%s", ("x" * 300,)) for _ in range(10)])
    assert "strings" not in said


def test_several_threads() -> None:
    """Each thread is said once, and a column says whose record it is."""
    said = document(taken(), taken(thread=10, threadName="worker"), taken())
    assert said["origin"] == [0, 1, 0]
    assert said["site"] == [0, 0, 0]
    assert len(said["sites"]) == 1


def test_what_cannot_be_derived_is_said() -> None:
    """File name, milliseconds, second and uptime travel when they are not the usual ones."""
    near_second = 1.0 - 2.0**-22
    said = document(
        taken(),
        taken(filename="other", at=0.5, msecs=123.0),
        taken(at=near_second, msecs=999.0, relativeCreated=1.5),
    )
    assert said["sites"][1][8:] == ["other", "views"]
    assert said["msecs"] == [[1, 2], [123.0, 999.0]]
    assert said["created"] == [[2], [START + near_second]]
    assert said["relative"] == [[2], [1.5]]


def test_sparse_columns() -> None:
    """Extras, exceptions and stacks name the rows that have them, or none if all do."""
    said = document(
        taken(user=1, path="/a"), taken(user=2, exc_text="Boom"), taken(user=3, stack_info="here")
    )
    assert said["extra"] == {"user": [None, [1, 2, 3]], "path": [[0], ["/a"]]}
    assert said["exc"] == [[1], ["Boom"]]
    assert said["stack"] == [[2], ["here"]]


@pytest.mark.parametrize(
    ("template", "args"),
    [
        ("%c", (65,)),
        ("%*d", (5, 3)),
        ("%1000d", (1,)),
        ("x" * 1_025 + "%s", (1,)),
        ("%s" * 65, (1,) * 65),
    ],
    ids=["value dependent", "star", "wide", "long", "many"],
)
def test_template_that_receivers_refuse_travels_as_text(
    template: str, args: tuple[object, ...]
) -> None:
    """The text is rendered here, and the same at the far side."""
    snaps = [taken(), taken(template, args), taken("ok %s", (2,))]
    assert document(*snaps)["values"][1] == [[template % args]]
    batch = decode_payload(0, encode_compact(snaps, HEADER), DecodeLimits())
    texts = [record.getMessage() for record in records(batch, {})]
    assert texts == ["user alice did login in 12 ms", template % args, "ok 2"]
    assert batch.templates_refused == 0


def test_record_that_cannot_travel_as_it_is_costs_the_others_nothing() -> None:
    """NaN, huge numbers and lone surrogates turn one message into text, not its neighbours'."""
    odd = [(float("nan"),), (float("inf"),), (10**400,), ("\ud800",)]
    for args in odd:
        said = json.loads(encode_compact([taken(), taken("odd %s", args), taken()], HEADER))
        assert said["sites"][0][6] == "user %s did %s in %d ms"
        assert said["sites"][1][6:] == [None, 0]
        assert said["values"][0][2] == [12, 12]


def test_records_out_of_order_and_far_apart() -> None:
    """Times may go back, and span years."""
    times = [0.0, -3.5e8, 1.0e9, 12.123456, -0.000001]
    snaps = [taken(at=at) for at in times]
    batch = decode_payload(0, encode_compact(snaps, HEADER), DecodeLimits())
    assert [f"{far.created:f}" for far in records(batch, {})] == [
        f"{START + at:f}" for at in times
    ]


def test_size_of_a_busy_batch() -> None:
    """A typical batch of 200 records stays below seven bytes per record in 1,472 bytes."""
    users = [f"user{i * 37 % 1000}" for i in range(28)]
    actions = ["login", "logout", "search", "purchase", "view_item"]
    at, snaps = 0.0, []
    for i in range(200):
        at += (9 + i * i % 5) / 1e6
        args = (users[i * 7 % 28], actions[i * i % 5], 1 + i * 31 % 97)
        snaps.append(taken(args=args, at=at, line=114 + i * i % 4))
    codec, body = compress(encode_compact(snaps, HEADER))
    assert len(body) < 7 * 200
    assert len(decode_payload(codec, body, DecodeLimits())) == 200


def test_no_records_and_what_holds_for_all_of_them() -> None:
    """The header is said once, fields and all; a batch without records says nothing else."""
    header = BatchHeader("web-1", {"service": "shop", "port": 80})
    assert document(header=HEADER) == {"host": "web-1"}
    assert document(header=header) == {
        "host": "web-1",
        "static": {"service": "shop", "port": 80},
    }


def test_values_with_types_are_said_twice() -> None:
    """As JSON for those who know no types, and with tags for those who do."""
    day = date(2026, 1, 2)
    said = document(taken(due=day), taken(due="today", n=1), taken({"on": day}, ()))
    assert said["extra"] == {"due": [[0, 1], ["2026-01-02", "today"]], "n": [[1], [1]]}
    assert said["typed"] == {"due": [[0], [["date", "2026-01-02"]]]}
    assert said["shape"] == [[2], [["tuple", {"on": ["date", "2026-01-02"]}, ["tuple"]]]]


def test_milliseconds_of_another_clock_leave_the_second_alone() -> None:
    """Only what differs from the time itself is said."""
    said = document(taken(), taken(at=0.5, msecs=123.0))
    assert said["msecs"] == [[1], [123.0]]
    assert "created" not in said


@pytest.mark.parametrize(
    ("attributes", "seen"),
    [
        ({"name": "n" * 300}, {"name": "n" * 252 + "..."}),
        ({"levelno": 10**9}, {"levelno": 10**6}),
        ({"created": -5.0}, {"created": 0.0}),
        ({"created": 1e12}, {"created": 253_370_764_799.0}),
        ({"msecs": 1_000.0}, {"msecs": 0.0}),
        ({"msecs": -1.0}, {"msecs": 0.0}),
        ({"msecs": True}, {"msecs": 1.0}),
        ({"relativeCreated": 1e16}, {"created": START, "relativeCreated": 0.0}),
        ({"relativeCreated": 2e14}, {"relativeCreated": 2e14}),
    ],
    ids=range(9),
)
def test_what_receivers_refuse_travels_as_what_they_take(
    attributes: dict[str, Any], seen: dict[str, Any]
) -> None:
    """A record that somebody changed arrives all the same, and its neighbours untouched."""
    payload = encode_compact([taken()], HEADER)
    (untouched,) = records(decode_payload(0, payload, DecodeLimits()), {})
    for place in range(3):
        snaps = [taken(), taken()]
        snaps.insert(place, taken(**attributes))
        far = records(decode_payload(0, encode_compact(snaps, HEADER), DecodeLimits()), {})
        assert {record.getMessage() for record in far} == {"user alice did login in 12 ms"}
        odd = far.pop(place)
        assert {name: vars(odd)[name] for name in seen} == seen
        assert vars(far[0]) == vars(far[1]) == vars(untouched)
