"""No payload costs more than it may, whatever multiplies in it, and honest ones cost a fraction.

Times are compared with the limit of the tariff on the processor clock, best of several, with a
margin for slow and busy machines; what is exact is who is refused.
"""

from __future__ import annotations

import json
import sys
import zlib

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import printed, printed_each, printed_value
from batchudp_handler.core.payload.codec import Codec, decode_payload, encode_compact, encode_rows
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.splitter import MAX_RECORDS
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, parse
from fuzz.costs import Genes, Search, measure, peak_memory, write
from fuzz.records import sample_snapshots

LIMITS = DecodeLimits()
MOST_MILLISECONDS = 50
MARGIN = 4 if sys.gettrace() is None else 20
"""Times the limit: what a slow, busy machine may add to the clock; and coverage, line by line."""
MOST_OUTPUT = 16 * LIMITS.inflated_bytes
MANY = 2_048


def compact(count: int, **members: object) -> bytes:
    """A compact payload of so many records, with some members replaced."""
    payload: dict[str, object] = {
        "host": "h",
        "time": 10**15,
        "delta": [0] * (count - 1),
        "sites": [["l", 20, "INFO", "/x.py", 1, "f", None, 0]],
        "origins": [[1, "P", 2, "T", None]],
        "site": [0] * count,
        "values": [[["m"] * count]],
        **members,
    }
    return json.dumps(payload, separators=(",", ":")).encode()


def site(template: str | None = None, nargs: int = 0, path: str = "/x.py") -> list[object]:
    """A call site."""
    return ["l", 20, "INFO", path, 1, "f", template, nargs]


def deep(depth: int) -> bytes:
    """Arrays in arrays."""
    return b"[" * depth + b"]" * depth


OUTPUT: dict[str, bytes] = {
    "static fields": compact(MANY, static={f"k{n}": "A" * 16_000 for n in range(50)}),
    "one control character": compact(MANY, static={"k": "\x7f" * 1_000}),
    "the host": compact(MANY, host="h" * 255, static={"k": "v" * 8_000}),
    "paths": compact(MANY, sites=[site(path="p" * 4_096)]),
    "a template": compact(
        MANY, sites=[site("\u202e" * 1_022 + "%d", 1)], values=[[[1] * MANY]]
    ),
    "padding": compact(
        MANY, sites=[site("%999d" + "\n" * 900, 1)], values=[[[1] * MANY]]
    ),
    "floats": compact(
        1_000, sites=[site("%f" * 60, 60)], values=[[[1e308] * 1_000] * 60]
    ),
    "the table": compact(
        MANY, strings=["s" * 1_024], sites=[site("%s" * 9, 9)],
        values=[[{"of": [0] * MANY}] * 9],
    ),
    "exceptions from the table": compact(
        MANY, strings=["\n" * 1_000], exc=[None, {"of": [0] * MANY}]
    ),
}  # fmt: skip

WORK: dict[str, bytes] = {
    "empty arrays": b'{"message":1,"x":[' + b"[]," * 300_000 + b"0]}",
    "empty objects": b'{"message":1,"x":[' + b"{}," * 300_000 + b"0]}",
    "small objects": b'{"message":1,"x":[' + b'{"":0},' * 140_000 + b"0]}",
    "numbers": b'{"message":1,"x":[' + b"0," * 400_000 + b"0]}",
    "members of a row": json.dumps({"message": 1, **{f"k{n}": 1 for n in range(60_000)}}).encode(),
    "extras of rows": json.dumps(
        [{"message": 1, **{f"k{n}": 1 for n in range(60)}}] * 1_500
    ).encode(),
    "escapes": b'"' + rb"\n" * 500_000 + b'"',
    "surrogates": b'"' + rb"\ud800" * 170_000 + b'"',
    "a number that is too long, and many": b"[1e999" + b",1" * 200_000 + b"]",
    "extras that differ": compact(1, extra={f"k{n}": [[], []] for n in range(40_000)}),
    "threads": compact(MANY, origins=[[1, "P", 2, "T", None]] * 2_048, extra={
        f"k{n}": [None, [0] * MANY] for n in range(60)
    }),
    "templates": compact(
        900, sites=[site("%%" * 500 + f"{n}%s", 1) for n in range(900)],
        site=[*range(900)], values=[[[1]] for _ in range(900)],
    ),
}  # fmt: skip


def refusal(body: bytes, limits: DecodeLimits = LIMITS) -> Reason | None:
    """Why a payload is refused as a whole; None if it is not."""
    try:
        decode_payload(Codec.JSON, body, limits)
    except DecodeError as error:
        return error.reason
    return None


@pytest.mark.parametrize("name", OUTPUT)
def test_what_would_print_too_much_is_refused(name: str) -> None:
    """Before any of it is made."""
    body = OUTPUT[name]
    assert len(body) <= LIMITS.inflated_bytes
    assert refusal(body) is Reason.OUTPUT_LIMIT
    assert measure(Codec.JSON, body, times=3).milliseconds < MARGIN * MOST_MILLISECONDS


@pytest.mark.parametrize("name", WORK)
def test_what_would_take_too_long_is_refused(name: str) -> None:
    """Before most of it is done."""
    body = WORK[name]
    assert len(body) <= LIMITS.inflated_bytes
    assert refusal(body) is Reason.WORK_LIMIT
    assert measure(Codec.JSON, body, times=3).milliseconds < MARGIN * MOST_MILLISECONDS


@pytest.mark.parametrize(
    "body",
    [
        deep(65),
        deep(500_000),
        b"[" * 1_000_000,
        b'{"message":' + deep(100_000) + b"}",
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'[{"message":"x"},{"message":' + deep(70) + b"}]",
        b'{"message":1,"x":"]]]]","y":' + deep(66) + b"}",
    ],
    ids=range(7),
)
def test_deep_json_is_refused_before_it_is_parsed(body: bytes) -> None:
    """Whatever it is in, and whatever brackets stand in strings."""
    assert refusal(body) in (Reason.JSON, Reason.WORK_LIMIT)
    assert measure(Codec.JSON, body, times=3).milliseconds < MARGIN * MOST_MILLISECONDS


def test_a_small_zip_of_much() -> None:
    """The limits are those of the payload, however small the datagram."""
    payload = compact(MANY, static={f"k{n}": "A" * 16_000 for n in range(55)})
    body = zlib.compress(payload, 9)
    assert len(body) < 20_000
    assert measure(Codec.ZLIB, body).refused == "output_limit"


def honest(count: int, **static: str) -> tuple[bytes, bytes]:
    """Records as our sender ships them, in both encodings."""
    snapshots = sample_snapshots()
    many = [snapshots[number % len(snapshots)] for number in range(count)]
    header = BatchHeader("web-1.example.com", {"service": "shop", **static})
    return encode_compact(many, header), encode_rows(many, header)


@pytest.mark.parametrize("static", [{}, {f"label{n}": "v" * 100 for n in range(40)}])
def test_honest_datagrams_are_far_from_the_limits(static: dict[str, str]) -> None:
    """The largest that a sender makes, with four kilobytes of static fields."""
    half = DecodeLimits(output_factor=LIMITS.output_factor // 2, work=LIMITS.work // 2)
    body, rows = honest(MAX_RECORDS, **static)
    assert refusal(body, half) is None
    assert len(rows) > LIMITS.inflated_bytes or refusal(rows) is None


def test_a_sender_with_large_static_fields_makes_smaller_batches() -> None:
    """So that a receiver takes every one of them."""
    header = BatchHeader("web-1", {f"label{n}": "v" * 1_000 for n in range(60)})
    settings = SenderSettings(header=header, max_datagram_size=60_000)
    sender = make_delivery(settings, stream_id=1, random=lambda: 0.5)
    sender.send_batch([*sample_snapshots()] * 200, 0.0, 1_700_000_000.0)
    delivered = 0
    while (data := sender.datagram_to_send(0.0)) is not None:
        sender.on_datagram_sent(0.0)
        found = parse(data)
        if isinstance(found, Header) and found.type == DatagramType.DATA:
            delivered += len(decode_payload(found.codec, CHECKSUM.open(data), LIMITS))
    assert delivered == 1_200


def test_a_text_that_is_json_itself() -> None:
    """Commas and brackets in strings are no values."""
    inner = json.dumps([{"a": [1, 2, {"b": None}]}] * 10_000)
    assert refusal(json.dumps({"message": inner[:250_000]}).encode()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc", 3), ("", 0), ('a"b', 6), ("a\\", 4), ("é", 6), ("a\n", 24), ("é\x7f", 24)],
)
def test_how_much_a_text_may_print(text: str, expected: int) -> None:
    """At least what JSON makes of it, twice."""
    assert printed(text) == expected
    assert len(json.dumps(text, ensure_ascii=False).encode()) - 2 <= expected


def test_texts_together_cost_what_each_of_them_does() -> None:
    """Whether they are all plain or one of them is not."""
    for texts in ([], ["a", "bc"], ["a", "é", "\n", 'q"']):
        assert printed_each(texts) == list(map(printed, texts))


@pytest.mark.parametrize(
    "value",
    [
        *("a\n", 0, -(10**300), 1.5, -1.7976931348623157e308, True, None, [], {}),
        *([1, [2.5, None]], {"k": {"é": ["x"]}, "n": 10**30}),
    ],
    ids=range(11),
)
def test_how_much_a_value_may_print(value: object) -> None:
    """At least what Python and JSON make of it."""
    for text in (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert len(text.encode()) <= printed_value(value)


def test_more_is_allowed_where_the_limits_are_higher() -> None:
    """So that every setting works."""
    large = DecodeLimits(records=65_535)
    assert refusal(compact(20_000), large) is None
    assert large.work_allowed > 30 * LIMITS.work


@pytest.mark.slow
def test_the_search_finds_nothing_that_costs_too_much() -> None:
    """A short one; `fuzz/costs.py` looks for longer, and its result is in docs/security.md."""
    search = Search(7, lambda cost: cost.output, with_output=True)
    worst = search.run(tries=60)
    assert search.tried == 60
    assert 0 < worst.cost.output <= MOST_OUTPUT
    slowest = Search(8, lambda cost: cost.milliseconds, with_output=False).run(tries=60)
    written = write(slowest.genes)
    assert written is not None
    # once more: the search looks at each payload once, and a busy machine may slow any of them
    assert measure(*written, times=5, with_output=False).milliseconds < MARGIN * MOST_MILLISECONDS


@pytest.mark.parametrize(
    "genes",
    [
        Genes(records=1, junk="ab", junk_count=100_000),
        Genes(records=1_000, extras=64, static=64),
        Genes(records=2_000, form="rows", extras=2),
        Genes(records=2_048, template="%s", strings=2_000, args=10, template_repeats=10),
    ],
    ids=range(4),
)
def test_memory_while_a_payload_is_read(genes: Genes) -> None:
    """At most sixteen times the largest payload."""
    written = write(genes)
    assert written is not None
    assert peak_memory(*written) <= MOST_OUTPUT
