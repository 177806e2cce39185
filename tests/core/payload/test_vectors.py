"""The published vectors, made and read."""

from __future__ import annotations

import json
import runpy
import zlib
from pathlib import Path
from typing import Any

import pytest

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.codec import (
    BatchHeader,
    decode_payload,
    encode_compact,
    encode_rows,
)
from batchudp_handler.core.payload.compression import DICTIONARY
from batchudp_handler.core.payload.limits import DecodeLimits

VECTORS = Path(__file__).parents[2] / "vectors"
MAKER = runpy.run_path(str(VECTORS / "make_payloads.py"))
ENCODERS = {"compact": encode_compact, "rows": encode_rows}


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((VECTORS / f"payload-{name}.json").read_text("utf-8"))
    return document


CASES = [
    pytest.param(encoding, case, id=f"{encoding}: {case['name']}")
    for encoding in ENCODERS
    for case in load(encoding)["cases"]
]
BODIES = [pytest.param(body, id=body["name"]) for body in load("bodies")["bodies"]]
REFUSED = [pytest.param(body, id=body["name"]) for body in load("refused")["bodies"]]


@pytest.mark.parametrize(("encoding", "case"), CASES)
def test_near_records_make_the_payload(encoding: str, case: dict[str, Any]) -> None:
    """The encoders say exactly what the vectors say."""
    taken = MAKER["snapshots"](case["near"])
    payload = ENCODERS[encoding](taken, BatchHeader(**case["header"]))
    assert payload.decode() == case["payload"]


@pytest.mark.parametrize(("encoding", "case"), CASES)
def test_payload_makes_the_far_records(encoding: str, case: dict[str, Any]) -> None:
    """The payload means the records of the vector, in either encoding."""
    assert MAKER["far"](case["payload"].encode()) == case["far"]


@pytest.mark.parametrize("body", BODIES)
def test_bodies_are_read(body: dict[str, Any]) -> None:
    """Compressed bodies, and entries of other programs, mean what the vectors say."""
    assert MAKER["far"](bytes.fromhex(body["body"]), body["codec"]) == body["far"]


@pytest.mark.parametrize("body", REFUSED)
def test_bad_bodies_are_refused(body: dict[str, Any]) -> None:
    """Each is counted under the name that the vector gives."""
    with pytest.raises(DecodeError) as caught:
        decode_payload(body["codec"], bytes.fromhex(body["body"]), DecodeLimits())
    assert caught.value.reason == body["reason"]


def test_dictionary_is_published() -> None:
    """Another language finds dictionary 1 beside the bodies that need it."""
    document = load("bodies")
    assert document["dictionary"].encode() == DICTIONARY
    assert document["dictionary_adler32"] == zlib.adler32(DICTIONARY)


def test_vectors_are_those_of_the_maker() -> None:
    """Whoever changes a case runs the maker; compressed bodies may differ by zlib."""
    for name, document in MAKER["documents"]().items():
        published = json.loads((VECTORS / name).read_text("utf-8"))
        if name == "payload-bodies.json":
            for body in [*document["bodies"], *published["bodies"]]:
                del body["body"]
        assert published == json.loads(json.dumps(document))
