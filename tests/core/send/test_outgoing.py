"""Numbers and seals of outgoing datagrams."""

from __future__ import annotations

import pytest

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.send.outgoing import BaselineStream, OutgoingStream
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import CHECKSUM
from batchudp_handler.core.wire.sync import Sync, decode_sync

STREAM = 7
SYNC = Sync(next_seq=40, floor=2, next_rec=90)


def stream() -> OutgoingStream:
    return OutgoingStream(STREAM, CHECKSUM, acknowledged=True)


def ack(stream_id: int = STREAM) -> bytes:
    return encode_ack(CHECKSUM, Ack(receiver_epoch=1), stream_id=stream_id, counter=3, sealed_at=0)


def test_the_fragments_of_a_batch_follow_one_another() -> None:
    """Each has a number; the records are those of the whole batch."""
    made = stream()
    made.seal_group(0, (b"one",), 5, 0.0)
    group = made.seal_group(0, (b"a", b"b"), 1, 0.0)
    headers = [made.header_of(data) for data in group.datagrams]
    assert [(each.seq, each.rec, each.n_rec) for each in headers] == [(1, 5, 1), (2, 5, 1)]
    assert [(each.frag_index, each.frag_count) for each in headers] == [(0, 2), (1, 2)]
    assert [made.open_own(data) for data in group.datagrams] == [b"a", b"b"]
    assert (made.next_seq, made.next_rec) == (3, 6)
    assert len(group.datagrams[0]) == made.overhead + 1


def test_only_the_last_numbers_can_be_taken_back() -> None:
    """Then the next batch gets them."""
    made = stream()
    first = made.seal_group(0, (b"one",), 5, 0.0)
    second = made.seal_group(0, (b"two",), 3, 0.0)
    assert not made.retract(first)
    assert made.retract(second)
    assert made.seal_group(0, (b"three",), 1, 0.0).first_rec == 5


@pytest.mark.parametrize(
    ("now", "offset", "sealed_at"), [(5.0, 1e9, 1_000_000_005), (5.0, -1e9, 0), (0.0, 2.0**32, 0)]
)
def test_the_wall_clock_fits_its_field(now: float, offset: float, sealed_at: int) -> None:
    """Times before 1970 and after 2106 are written as well as they can be."""
    made = stream()
    made.clock_offset = offset
    data = made.seal_group(0, (b"x",), 1, now).datagrams[0]
    assert made.header_of(data).sealed_at == sealed_at


def test_sync_counters_grow_also_across_processes() -> None:
    """A stream that is taken up goes on above whatever the dead process can have sent."""
    made = stream()
    first, second = (made.header_of(made.seal_sync(SYNC, 0.0)).seq for _ in range(2))
    assert first < second
    made.clock_offset = 1e9
    made.continue_at(40, 0.0)
    data = made.seal_sync(SYNC, 0.0)
    assert made.header_of(data).seq > 1 << 40
    assert decode_sync(CHECKSUM.open(data)) == SYNC
    assert made.next_seq == 40


def test_an_ack_is_opened_with_its_counter() -> None:
    """The counter is where other datagrams have their number."""
    assert stream().open_ack(ack()) == (3, Ack(receiver_epoch=1))


def test_what_is_no_ack_of_ours_is_named() -> None:
    """Each by its reason."""
    key = HmacKey(1, b"k" * 32).receiver
    made = stream()
    strangers = {
        made.seal_sync(SYNC, 0.0): Reason.UNSUPPORTED_TYPE,
        b"[]": Reason.UNSUPPORTED_TYPE,
        ack(8): Reason.NOT_ALLOWED,
        encode_ack(
            key, Ack(receiver_epoch=1), stream_id=STREAM, counter=3, sealed_at=0
        ): Reason.UNKNOWN_KEY,
    }
    for data, reason in strangers.items():
        with pytest.raises(DecodeError) as caught:
            made.open_ack(data)
        assert caught.value.reason is reason


def test_baseline_datagrams_are_their_bodies() -> None:
    """The numbers are nobody's, so any may be taken back."""
    made = BaselineStream()
    group = made.seal_group(0, (b"[]", b"{}"), 2, 0.0)
    assert group.datagrams == (b"[]", b"{}")
    assert (made.next_seq, made.next_rec, made.overhead) == (2, 2, 0)
    assert made.retract(group)
