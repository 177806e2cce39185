"""A datagram has the bytes that the format says, in both directions, and any damage is noticed."""

from __future__ import annotations

import json
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.ack import Ack, decode_ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import (
    CHECKSUM,
    Baseline,
    DatagramType,
    Header,
    Seal,
    encode_baseline,
    encode_data,
    parse,
)
from batchudp_handler.core.wire.sync import Sync, decode_sync, encode_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parents[2] / "vectors"
MAKER = runpy.run_path(str(VECTORS / "make_datagrams.py"))

KEY = HmacKey(7, bytes(range(32)))


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / name).read_text("utf-8"))
    return loaded["datagrams"]


def named(name: str) -> list[Any]:
    return [pytest.param(each, id=each["name"]) for each in vectors(name)]


def refusal(datagram: bytes, seal: Seal = CHECKSUM) -> Reason | None:
    """Why a datagram is refused, None if it is not."""
    try:
        parsed = parse(datagram)
        if isinstance(parsed, Header):
            if parsed.key_id != seal.key_id:
                return Reason.UNKNOWN_KEY
            seal.open(datagram)
            parsed.check()
    except DecodeError as error:
        return error.reason
    return None


def data(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "acknowledged": False,
        "codec": 1,
        "stream_id": 1,
        "seq": 10,
        "rec": 100,
        "sealed_at": 1_700_000_000,
        "n_rec": 5,
    }
    return encode_data(
        changes.pop("seal", CHECKSUM), changes.pop("body", b"body"), **fields | changes
    )


# --- vectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("datagram-*.json")))
def test_the_vectors_are_what_the_encoder_makes(name: str) -> None:
    """Encoding the fields of each vector gives the bytes in the file."""
    made = MAKER["files"]()
    if name not in made:
        pytest.skip("needs the package cryptography")
    assert json.loads(MAKER["text"](made[name])) == {**made[name], "datagrams": vectors(name)}


@pytest.mark.parametrize("vector", named("datagram-checksum.json"))
def test_the_decoder_finds_the_fields_of_a_vector(vector: dict[str, Any]) -> None:
    """Decoding the bytes of each vector gives the fields in the file."""
    datagram = bytes.fromhex(vector["datagram"])
    header = parse(datagram)
    assert isinstance(header, Header)
    header.check()
    body = CHECKSUM.open(datagram)
    found: dict[str, Any] = {"stream_id": header.stream_id, "sealed_at": header.sealed_at}
    if header.type == DatagramType.SYNC:
        found |= {"counter": header.seq, **asdict(decode_sync(body))}
    elif header.type == DatagramType.ACK:
        found |= {"counter": header.seq, **asdict(decode_ack(body))}
    else:
        found |= header._asdict() | {"body": body, "acknowledged": header.type == 2}
        del found["type"], found["key_id"]
    assert {key: MAKER["readable"](value) for key, value in found.items()} == vector["fields"]


@pytest.mark.parametrize("vector", named("datagram-baseline.json"))
def test_a_baseline_datagram_says_its_codec(vector: dict[str, Any]) -> None:
    """Behind the three bytes is the batch, as it is or as a zlib stream."""
    fields = vector["fields"]
    expected = Baseline(fields["codec"], bytes.fromhex(fields["body"]))
    assert parse(bytes.fromhex(vector["datagram"])) == expected


@pytest.mark.parametrize("vector", named("datagram-refused.json"))
def test_what_is_not_a_datagram_is_refused_by_reason(vector: dict[str, Any]) -> None:
    """Garbage and other versions are told apart, since they are counted apart."""
    assert refusal(bytes.fromhex(vector["datagram"])) == vector["reason"]


# --- layout -------------------------------------------------------------------------------------


def test_the_header_has_the_documented_bytes() -> None:
    """Every field stands at its offset, big-endian."""
    datagram = data(
        acknowledged=True,
        codec=3,
        stream_id=0x0102030405060708,
        seq=0x1112131415161718,
        rec=0x21222324,
        sealed_at=0x31323334,
        n_rec=0x4142,
        frag_index=0x0203,
        frag_count=0x0301,
        body=b"xyz",
    )
    assert datagram[:38].hex(" ") == (
        "cb f2 81 02 00 00 03 00 01 02 03 04 05 06 07 08 11 12 13 14 15 16 17 18 "
        "21 22 23 24 31 32 33 34 41 42 02 03 03 01"
    )
    assert datagram[38:41] == b"xyz"
    assert datagram[41:] == crc32(datagram[:41]).to_bytes(4, "big")


def test_a_parsed_header_packs_to_the_same_bytes() -> None:
    """`pack` is the inverse of `parse`."""
    datagram = data(frag_index=1, frag_count=2)
    header = parse(datagram)
    assert isinstance(header, Header)
    assert header.pack() == datagram[:38]


def test_a_record_number_wraps() -> None:
    """`rec` travels modulo 2^32."""
    header = parse(data(rec=2**32 + 5))
    assert isinstance(header, Header)
    assert header.rec == 5


# --- round trips --------------------------------------------------------------------------------


@given(body=st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    """The parser raises nothing but `DecodeError`, whatever it is given."""
    for start in (b"", b"\xcb\xf2", b"\xcb\xf2\x81\x01\x00\x00\x00\x00"):
        refusal(start + body)


# --- damage -------------------------------------------------------------------------------------


def examples(seal: Seal, back: Seal) -> Iterator[tuple[str, bytes, Seal]]:
    """One datagram of each kind and who opens it; the seals are the receiver's and sender's."""
    yield "data", data(seal=seal, body=bytes(range(150))), back
    sync = Sync(next_seq=9, floor=8, next_rec=90, acknowledged=True, cookie=bytes(range(16)))
    yield "sync", encode_sync(seal, sync, stream_id=1, counter=2, sealed_at=3), back
    ack = Ack(receiver_epoch=4, floor=5, credit=6, bitmap=0b1011)
    yield "ack", encode_ack(back, ack, stream_id=1, counter=2, sealed_at=3), seal
    challenge = Ack(receiver_epoch=4, cookie=bytes(range(16)))
    yield "challenge", encode_ack(back, challenge, stream_id=1, counter=2, sealed_at=3), seal


EXAMPLES = [
    *(pytest.param(*rest, id=f"{kind}-crc") for kind, *rest in examples(CHECKSUM, CHECKSUM)),
    *(
        pytest.param(*rest, id=f"{kind}-hmac")
        for kind, *rest in examples(KEY.sender, KEY.receiver)
    ),
]


def expected_refusals(offset: int, seal: Seal) -> set[str]:
    """How a flip in this byte may be found out: by the form where that is told, else by tag."""
    by_trailer = Reason.AUTH_FAILED if seal.key_id else Reason.BAD_CRC
    by_form = {
        0: {"malformed"},
        1: {"malformed"},
        2: {"unsupported_version", "malformed"},
        3: {"unsupported_type", by_trailer},
        4: {"unknown_key"},
        5: {"unknown_key"},
        7: {"unsupported_flags"},
    }
    return by_form.get(offset, {by_trailer})


@pytest.mark.parametrize(("datagram", "seal"), EXAMPLES)
def test_each_flipped_bit_is_noticed(datagram: bytes, seal: Seal) -> None:
    """A flip where the form is told is refused by form, any other one by the trailer."""
    assert refusal(datagram, seal) is None
    number = int.from_bytes(datagram, "big")
    bits = len(datagram) * 8
    for bit in range(bits):
        flipped = (number ^ 1 << bits - 1 - bit).to_bytes(len(datagram), "big")
        assert refusal(flipped, seal) in expected_refusals(bit // 8, seal), f"bit {bit}"


@pytest.mark.parametrize(("datagram", "seal"), EXAMPLES)
def test_each_other_length_is_noticed(datagram: bytes, seal: Seal) -> None:
    """Cut anywhere or extended, no datagram is accepted."""
    for length in range(len(datagram)):
        assert refusal(datagram[:length], seal) is not None, f"cut to {length}"
    for extra in range(1, 9):
        assert refusal(datagram + bytes(extra), seal) is not None, f"{extra} more bytes"


# --- fields that contradict each other ----------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"n_rec": 0},
        {"frag_count": 0},
        {"frag_index": 1},
        {"frag_index": 3, "frag_count": 3},
        {"frag_count": 1025},
        {"seq": 1, "frag_index": 2, "frag_count": 3},
        {"seq": 2**64 - 1},
        {"seq": 2**64 - 3, "frag_count": 3},
    ],
    ids=str,
)
def test_impossible_data_is_refused(fields: dict[str, int]) -> None:
    """No records, a fragment outside its group, a group before the first or after the last."""
    assert refusal(data(**fields)) is Reason.MALFORMED


@pytest.mark.parametrize("frag_count", [1, 2, 1024])
def test_possible_fragments_are_accepted(frag_count: int) -> None:
    """Up to 1,024 fragments, the last of them too."""
    assert refusal(data(seq=2000, frag_index=frag_count - 1, frag_count=frag_count)) is None
    assert refusal(data(seq=2**64 - 2, frag_index=frag_count - 1, frag_count=frag_count)) is None


@pytest.mark.parametrize("offset", [6, 24, 27, 33, 35, 37])
def test_sync_and_ack_leave_the_fields_of_data_alone(offset: int) -> None:
    """Codec, rec, n_rec and fragment fields are fixed outside DATA."""
    sync = Sync(next_seq=1, floor=0, next_rec=3)
    datagram = encode_sync(CHECKSUM, sync, stream_id=1, counter=0, sealed_at=0)
    changed = bytearray(datagram[:-4])
    changed[offset] ^= 2
    assert refusal(CHECKSUM.seal(bytes(changed[:38]), bytes(changed[38:]))) is Reason.MALFORMED


def test_json_may_begin_with_white_space() -> None:
    """JSON's own white space, and no other, may stand before a raw JSON text."""
    assert parse(b' \t\r\n {"a": 1}') == Baseline(0, b' \t\r\n {"a": 1}')
    assert parse(b"[]") == Baseline(0, b"[]")
    assert refusal(b'\x0b{"a": 1}') is Reason.MALFORMED
    assert refusal(b"{") is Reason.MALFORMED


def test_only_two_codecs_have_a_baseline_form() -> None:
    """Asking for another one is our own mistake and raises."""
    with pytest.raises(ValueError, match="zlib"):
        encode_baseline(Baseline(2, b""))


def test_an_error_never_carries_bytes_from_the_wire() -> None:
    """The text of a `DecodeError` names the reason only, so that it can be logged."""
    with pytest.raises(DecodeError) as caught:
        parse(b"secret\x1b[31m")
    assert str(caught.value) == "malformed"
