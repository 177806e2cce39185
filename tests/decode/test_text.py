"""What the decoder says of a datagram is what is in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.decode.capture import Found
from batchudp_handler.decode.text import Describer
from tests.decode.files import ROWS, conversation, data

SYNC, BATCH, ACK, OLD = conversation()
KEY = HmacKey(7, bytes(32))


def described(*datagrams: bytes, **options) -> str:
    describer = Describer(**options)
    lines: list[str] = []
    for number, each in enumerate(datagrams, 1):
        lines += describer.describe(number, Found(each))
    return "\n".join(lines)


def test_a_conversation():
    """Headers, what each datagram says, and the records, whose control characters are escaped."""
    assert described(SYNC, BATCH, ACK, OLD).splitlines() == [
        "1  128 bytes  SYNC, stream 0102030405060708, counter 0, sealed at 1700000000",
        "    acknowledged, promise_ms 1000",
        (
            f"2  {len(BATCH)} bytes  DATA (acknowledged), stream 0102030405060708, seq 0, "
            "records 0-1, json, sealed at 1700000000"
        ),
        "    host -; records 2",
        "      2023-11-14 22:13:20.000 WARNING shop: hi",
        "      2023-11-14 22:13:20.000 INFO root: a\\x1b[31mb",
        "3  75 bytes  ACK, stream 0102030405060708, counter 0, sealed at 1700000000",
        (
            "    receiver_epoch 0000000000000abc, floor 1, credit 4096, delivered_records 2, "
            "bitmap of 1 datagrams"
        ),
        f"4  {len(OLD)} bytes  JSON without a header, zlib",
        "    host -; records 1",
        "      1970-01-01 00:00:00.000 INFO root: old",
    ]


def test_headers_only():
    """Without records there is one line for what the batch holds."""
    assert "WARNING" not in described(BATCH, with_records=False)


def test_fragments_are_joined_in_any_order():
    """The last one to come brings the records."""
    parts = [
        data(seq, ROWS[start : start + 40], frag_index=seq, frag_count=2)
        for seq, start in enumerate(range(0, len(ROWS), 40))
    ]
    text = described(parts[1], parts[0])

    assert "fragment 2 of 2" in text.splitlines()[0]
    assert text.splitlines()[-2].endswith("WARNING shop: hi")


def test_keys():
    """A sealed datagram opens with its key; without one the text says which key is missing."""
    sealed = data(seal=KEY.sender)

    assert "WARNING shop: hi" in described(sealed, keys=[KEY])
    assert described(sealed).splitlines()[1] == "    sealed with key 7: give it with --key-file"


def test_refusals_name_their_reason():
    """What the receiver would refuse is refused here, with the same word."""
    damaged = BATCH[:60] + bytes([BATCH[60] ^ 1]) + BATCH[61:]

    assert "refused: bad_crc" in described(damaged)
    assert "refused: malformed" in described(b"\xcb\xf2")
    assert "refused: json" in described(b"{ ")


@given(st.binary(max_size=400), st.integers(0, 400))
def test_nothing_raises(noise, cut):
    """Whatever the datagram holds."""
    described(noise)
    described(BATCH[:cut] + noise)
    described(data(body=noise))
