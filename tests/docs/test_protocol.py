"""The registries of the protocol are those of the code, and so are its levels and revisions."""

from __future__ import annotations

import json
import re
from pathlib import Path

from batchudp_handler.core.payload.codec import Codec, decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.wire.constants import VERSION
from batchudp_handler.core.wire.datagram import DatagramType

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol"
INDEX = (PROTOCOL / "index.md").read_text("utf-8")
LOCAL = range(240, 256)
"""Codecs that are never on the wire."""


def registry(name: str) -> dict[int, str]:
    """The single numbers of a table, with what they stand for."""
    table = INDEX.partition(f":name: registry-{name}\n")[2].partition("```")[0]
    return {
        int(number): text
        for number, text in re.findall(r"^\* - (\d+)\n  - (.*)$", table, re.MULTILINE)
    }


def test_types_are_registered() -> None:
    """Every type of the code has its number in the table, and nothing else has one."""
    assert {number: text.split(",")[0] for number, text in registry("types").items()} == {
        int(kind): kind.name.partition("_")[0] for kind in DatagramType
    }


def test_codecs_are_registered() -> None:
    """Every codec that may be on the wire has its number in the table; the others are local."""
    assert registry("codecs").keys() == {int(codec) for codec in Codec if codec not in LOCAL}
    assert {int(codec) for codec in Codec if codec in LOCAL} == {240}
    assert "(240: a GELF message)" in INDEX


def test_the_version_byte() -> None:
    """The page says which byte stands for this version."""
    assert f"`{VERSION:02X}` version 1" in INDEX


def test_the_revision_is_the_latest_of_the_history() -> None:
    """Revisions grow by one, and the first lines name the last."""
    revisions = re.findall(r"^\| (1\.\d+) \| \d{4}-\d\d-\d\d \|", INDEX, re.MULTILINE)
    assert revisions == [f"1.{number}" for number in range(len(revisions))]
    assert f"**Protocol 1, revision {revisions[-1]}.**" in INDEX


def test_unknown_members_change_nothing() -> None:
    """What rule 3 lets a revision add is ignored by this reader, or kept as an extra."""
    case = json.loads((PROTOCOL.parents[1] / "tests/vectors/payload-compact.json").read_text())
    payload = json.loads(case["cases"][0]["payload"])
    limits = DecodeLimits()
    plain = decode_payload(Codec.JSON, json.dumps(payload).encode(), limits)
    later = {**payload, "later": [None, [5]]}
    assert decode_payload(Codec.JSON, json.dumps(later).encode(), limits) == plain
    row = decode_payload(Codec.JSON, b'{"message":"hi","later":5}', limits)
    assert row.extras == {"later": ([0], [5])}
