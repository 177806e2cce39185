"""Every published vector in both directions: made by each sender, and read in two languages."""

from __future__ import annotations

import json
import logging
import runpy
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.testing.log_receiver import LogReceiver
from tests.support import wait_until

if TYPE_CHECKING:
    from tests.senders.conftest import Driver

VECTORS = Path(__file__).parents[1] / "vectors"
MAKER = runpy.run_path(str(VECTORS / "make_payloads.py"))
READERS = pytest.mark.parametrize("driver", ["javascript", "c"], indirect=True)
HAVE_KEYS = pytest.mark.parametrize("driver", ["python", "javascript"], indirect=True)
HAVE_BASELINE = HAVE_KEYS

DATA = 1
NUMBERS_OF_HEADER = ("stream_id", "seq", "rec", "sealed_at", "n_rec", "frag_index", "frag_count")
NUMBERS_OF_SYNC = (
    *("stream_id", "counter", "next_seq", "next_rec", "dropped_records"),
    *("max_datagram", "promise_ms", "closing", "sealed_at"),
)
MAKER = runpy.run_path(str(VECTORS / "make_payloads.py"))
NOT_FOR_THIS_SENDER = {
    *("relayed", "static fields", "lone surrogate"),
    *("values with types", "a message that is a structure", "exception"),
}
"""It relays nothing, has its own host, and knows no types."""
RECEIVED = 1_700_000_100.25
OF_THE_RECEIVER = {"received", "remote_addr", "authenticated", "stream_id"}


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    return document


def as_number(value: str | int) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def numbers(fields: dict[str, Any], names: tuple[str, ...]) -> list[int]:
    return [as_number(fields[name]) for name in names]


def question(vector: dict[str, Any], key_id: int, secret: str) -> list[object] | None:
    """Return what asks a driver for the vector; None where one-way senders never make it."""
    kind, fields = vector["name"].partition("/")[0], vector["fields"]
    if kind == "data":
        words: list[object] = [DATA + fields["acknowledged"], key_id, secret, fields["codec"]]
        return ["seal", *words, *numbers(fields, NUMBERS_OF_HEADER), fields["body"] or "-"]
    if kind == "sync" and not fields["acknowledged"]:
        return ["sync", key_id, secret, *numbers(fields, NUMBERS_OF_SYNC)]
    return None


def assert_makes_all(driver: Driver, document: dict[str, Any]) -> None:
    secret = document.get("secret", "-")
    asked = 0
    for vector in document["datagrams"]:
        words = question(vector, document["key_id"], secret)
        if words is not None:
            assert driver.ask(*words) == vector["datagram"], vector["name"]
            asked += 1
    assert asked == 8


def test_datagrams_with_a_checksum_are_made(driver: Driver) -> None:
    """DATA and SYNC have the bytes of the vectors."""
    assert_makes_all(driver, load("datagram-checksum"))


@HAVE_KEYS
def test_datagrams_with_a_tag_are_made(driver: Driver) -> None:
    """Signed DATA and SYNC have the bytes of the vectors."""
    assert_makes_all(driver, load("datagram-hmac"))


@HAVE_BASELINE
def test_baseline_datagrams_are_made(driver: Driver) -> None:
    """The baseline forms have the bytes of the vectors."""
    for vector in load("datagram-baseline")["datagrams"]:
        fields = vector["fields"]
        assert driver.ask("baseline", fields["codec"], fields["body"]) == vector["datagram"]


@READERS
def test_datagrams_are_read(driver: Driver) -> None:
    """A reader of thirty lines finds the fields of every vector."""
    kinds = {"sync": 3, "ack": 4}
    for vector in load("datagram-checksum")["datagrams"]:
        kind, fields = vector["name"].partition("/")[0], vector["fields"]
        body = vector["datagram"][76:-8] or "-"
        if kind == "data":
            assert body == (fields["body"] or "-")
            expected = [DATA + fields["acknowledged"], fields["codec"]]
            expected += numbers(fields, NUMBERS_OF_HEADER)
        else:
            stream, counter, sealed = numbers(fields, ("stream_id", "counter", "sealed_at"))
            expected = [kinds[kind], 0, stream, counter, 0, sealed, 0, 0, 1]
        answer = driver.ask("read", vector["datagram"])
        assert answer == " ".join(map(str, [*expected, body])), vector["name"]


@READERS
def test_baseline_datagrams_are_read(driver: Driver) -> None:
    """The baseline forms are told apart by their third byte."""
    for vector in load("datagram-baseline")["datagrams"]:
        fields = vector["fields"]
        answer = driver.ask("read", vector["datagram"])
        assert answer == f"baseline {fields['codec']} {fields['body']}"


@READERS
def test_bad_datagrams_are_refused(driver: Driver) -> None:
    """The order of checks on the page gives the reasons of the vectors."""
    for vector in load("datagram-refused")["datagrams"]:
        answer = driver.ask("read", vector["datagram"] or "-")
        assert answer == vector["reason"], vector["name"]


def payloads() -> list[tuple[int, bytes, dict[str, Any]]]:
    """Every payload that is understood: its codec and bytes, and what it means."""
    found = []
    for form in ("compact", "rows"):
        cases = load(f"payload-{form}")["cases"]
        found += [(0, case["payload"].encode(), case["far"]) for case in cases]
    bodies = load("payload-bodies")["bodies"]
    return found + [(each["codec"], bytes.fromhex(each["body"]), each["far"]) for each in bodies]


def attributes(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the vectors say of a record, without what only the receiver knows."""
    fields: dict[str, Any] = MAKER["attributes_of"](record)
    return without_receiver(fields)


def without_receiver(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in OF_THE_RECEIVER}


def send_all(datagrams: list[str], address: tuple[str, int]) -> None:

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(bytes.fromhex(datagram), address)


def sealed(driver: Driver, bodies: list[tuple[int, bytes, int]]) -> list[str]:
    """Return one datagram for each body, which the sender numbers in one stream."""
    made, rec = [], 0
    for seq, (codec, body, records) in enumerate(bodies):
        header = (DATA, 0, "-", codec, 77, seq, rec, 1_700_000_000, records, 0, 1)
        made.append(driver.ask("seal", *header, body.hex()))
        rec += records
    return made


def test_the_receiver_reads_every_payload(driver: Driver) -> None:
    """Each payload, sealed by the sender, comes out as the records of the vector."""
    cases = payloads()
    counts = [len(far["records"]) + far["counted"].get("malformed", 0) for *_, far in cases]
    bodies = [(codec, body, n) for (codec, body, _), n in zip(cases, counts, strict=True)]
    datagrams = sealed(driver, bodies)
    expected = [without_receiver(fields) for *_, far in cases for fields in far["records"]]
    with LogReceiver() as receiver:
        send_all(datagrams, receiver.address)
        arrived = [attributes(record) for record in receiver.wait_for(len(expected))]
    for got, wanted in zip(arrived, expected, strict=True):
        if wanted["created"] == RECEIVED:
            del (
                wanted["created"],
                wanted["msecs"],
            )  # it says no time, so it has that of its arrival
        assert {name: got.get(name) for name in wanted} == wanted


def test_the_receiver_refuses_what_the_vectors_say(driver: Driver) -> None:
    """Each bad payload, sealed by the sender, is counted under the reason of the vector."""
    cases = load("payload-refused")["bodies"]
    bodies = [(case["codec"], bytes.fromhex(case["body"]), 1) for case in cases]
    reasons: dict[str, int] = {}
    for case in cases:
        reasons[case["reason"]] = reasons.get(case["reason"], 0) + 1
    with LogReceiver() as receiver:
        send_all(sealed(driver, bodies), receiver.address)
        wait_until(lambda: sum(receiver.stats().rejected.values()) == len(cases), "refusals")
        assert dict(receiver.stats().rejected) == reasons


def test_every_row_arrives(driver: Driver) -> None:
    """The rows of the vectors, written again by the sender's own JSON, mean the same records."""
    cases = load("payload-rows")["cases"]
    rows = [json.dumps(row) for case in cases for row in json.loads(case["payload"])]
    expected = [without_receiver(fields) for case in cases for fields in case["far"]["records"]]
    with LogReceiver() as receiver:
        driver.open(receiver.address)
        driver.row(*rows)
        assert driver.close().sent == len(rows)
        arrived = [attributes(record) for record in receiver.wait_for(len(expected))]
        assert receiver.stats().rejected == {}
    assert arrived == expected


def test_every_near_record_arrives() -> None:
    """The Python sender makes rows of the near records that mean the far ones."""
    sender = runpy.run_path(str(Path(__file__).parents[2] / "senders/python/batchudp_sender.py"))
    near_only = {"hostname", "hops", "received"}
    for case in load("payload-rows")["cases"]:
        if case["name"] in NOT_FOR_THIS_SENDER:
            continue
        with LogReceiver() as receiver:
            handler = sender["BatchSender"](*receiver.address)
            for values in case["near"]:
                record = logging.makeLogRecord(MAKER["near_attributes"](values))
                handler.handle(record)
            handler.close()
            arrived = receiver.wait_for(len(case["near"]))
        for record, fields in zip(arrived, case["far"]["records"], strict=True):
            wanted = {k: v for k, v in without_receiver(fields).items() if k not in near_only}
            got = attributes(record)
            assert {name: got.get(name) for name in wanted} == wanted, case["name"]
