"""ACKs and CHALLENGEs: which count, and what they change."""

from __future__ import annotations

import pytest

from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, parse
from batchudp_handler.core.wire.sync import decode_sync
from tests.core.send.bench import (
    COOKIE,
    EPOCH,
    STREAM,
    Bench,
    acknowledged,
    header,
    records,
    seqs,
    store_all,
    syncs,
    with_spool,
)


def test_only_the_floor_confirms() -> None:
    """Held records are not confirmed; final ones are; then everything is settled."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    sent = bench.send()
    count = len(seqs(sent))
    assert count > 2
    bench.ack(bitmap=(1 << count) - 1)
    assert bench.sender.counters.confirmed == 0
    bench.ack(floor=count)
    assert bench.sender.counters.confirmed == 100
    assert bench.sender.is_idle
    bench.check_identity(100)


def test_rejected_records_are_told_apart() -> None:
    """What the receiver refused is final and not confirmed."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    count = len(seqs(bench.send()))
    bench.ack(floor=count, rejected_records=7)
    assert bench.sender.counters.rejected_by_receiver == 7
    assert bench.sender.counters.confirmed == 93
    bench.check_identity(100)


def test_an_old_ack_is_ignored() -> None:
    """An ACK with a counter that has been seen changes nothing."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    old = encode_ack(
        CHECKSUM,
        Ack(receiver_epoch=EPOCH, floor=1, credit=9),
        stream_id=STREAM,
        counter=1,
        sealed_at=0,
    )
    bench.sender.receive_datagram(old, bench.now)
    assert bench.sender.counters.confirmed == 0
    assert bench.sender.counters.ignored == {"replayed": 1}


@pytest.mark.parametrize(
    "fields",
    [{"floor": 2}, {"floor": 2**64 - 1}, {"bitmap": 0b10}, {"bitmap": 1 << 4095}],
)
def test_an_ack_for_what_was_never_sent_is_ignored(fields: dict[str, int]) -> None:
    """Hostile floors and bitmaps are counted and have no effect."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(**fields)
    assert bench.sender.counters.ignored == {"shape": 1}
    assert bench.sender.retained_records == 1


def test_an_ack_for_another_stream_or_key_is_ignored() -> None:
    """Answers that are not for us, or damaged, are counted by reason."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    ack = Ack(receiver_epoch=EPOCH, floor=1)
    other = encode_ack(CHECKSUM, ack, stream_id=1, counter=50, sealed_at=0)
    keyed = encode_ack(
        HmacKey(3, b"k" * 32).receiver, ack, stream_id=STREAM, counter=50, sealed_at=0
    )
    own = encode_ack(CHECKSUM, ack, stream_id=STREAM, counter=50, sealed_at=0)
    damaged = own[:-1] + bytes([own[-1] ^ 1])
    for data in (other, keyed, damaged, b"", b"{}", own[:20]):
        bench.sender.receive_datagram(data, bench.now)
    assert bench.sender.counters.ignored == {
        "not_allowed": 1,
        "unknown_key": 1,
        "bad_crc": 1,
        "malformed": 2,
        "unsupported_type": 1,
    }
    assert bench.sender.retained_records == 1


def test_a_new_receiver_gets_everything_again_and_it_is_counted() -> None:
    """At the challenge the possible copies are counted, at its first ACK all is queued."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    first = bench.send()
    bench.ack(bitmap=0b1)
    bench.ack(receiver_epoch=EPOCH + 1, cookie=COOKIE)
    assert bench.sender.counters.resent_to_new_receiver == 100
    assert seqs(bench.until(bench.now + 0.1)) == []
    bench.ack(receiver_epoch=EPOCH + 1)
    assert seqs(bench.send())[: len(seqs(first))] == seqs(first)


def test_a_late_answer_of_the_old_receiver_does_not_count() -> None:
    """After the change of receiver, ACK and CHALLENGE of the old one are stale."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(receiver_epoch=EPOCH + 1, cookie=COOKIE)
    bench.until(bench.now + 0.1)
    bench.ack(receiver_epoch=EPOCH + 1)
    bench.send()
    bench.ack(floor=1)
    bench.ack(cookie=COOKIE)
    assert bench.sender.counters.ignored == {"stale": 2}
    assert bench.sender.counters.confirmed == 0
    assert bench.sender.counters.resent_to_new_receiver == 1


def test_a_receiver_that_never_challenged_us_is_not_believed() -> None:
    """An ACK of an unknown epoch confirms nothing."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(receiver_epoch=99, floor=1)
    assert bench.sender.counters.confirmed == 0


def test_an_instance_that_lives_and_dies_unheard_is_counted() -> None:
    """Each challenge of an unknown receiver counts the copies that it may have made."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    for epoch in (EPOCH + 1, EPOCH + 1, EPOCH + 2):
        bench.ack(receiver_epoch=epoch, cookie=COOKIE)
        bench.until(bench.now + 0.1)
    assert bench.sender.counters.resent_to_new_receiver == 2


def test_a_receiver_that_forgot_the_stream_gets_everything_again() -> None:
    """Its counts begin again: what it had and we retain may be delivered twice, and is counted."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    count = len(seqs(bench.send()))
    bench.ack(floor=1, bitmap=0b1, delivered_records=90)
    bench.ack(floor=1, delivered_records=0)
    assert bench.sender.counters.resent_to_new_receiver > 0
    assert seqs(bench.send()) == list(range(1, count))


def test_a_challenge_in_the_same_epoch_only_proves_the_address() -> None:
    """After an address change a SYNC with the cookie goes out; nothing is counted as resent."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(cookie=b"d" * 16)
    assert [sync.cookie for sync in syncs(bench.until(bench.now + 0.06))] == [b"d" * 16]
    assert bench.sender.counters.resent_to_new_receiver == 0


def test_after_an_address_change_what_was_on_its_way_is_sent_at_once() -> None:
    """It was not taken from the unproven address; nobody has to wait for a timer to know."""
    bench = acknowledged()
    bench.log(1)
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.send()
    bench.now += 2.0  # a slow path: the probe timer is far away
    bench.ack()
    first = bench.send()
    bench.ack(cookie=b"d" * 16)
    assert len(syncs(bench.until(bench.now + 0.06))) == 1
    bench.ack()
    assert bench.send() == first


def test_a_copy_of_an_old_challenge_sends_nothing_again() -> None:
    """Only another cookie means another address."""
    bench = acknowledged()
    bench.log(1)
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.send()
    bench.now += 2.0
    bench.ack()
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(bench.now + 0.06)
    bench.ack()
    assert seqs(bench.send()) == []


def test_a_receiver_that_may_have_forgotten_us_is_counted() -> None:
    """A challenge after a minute without an answer: what was delivered may be delivered again."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.until(bench.now + 70.0)
    bench.ack(cookie=b"d" * 16)
    assert bench.sender.counters.resent_to_new_receiver == 1


def test_a_closing_receiver_gets_no_more_data() -> None:
    """Its answers still count, and probing waits for its successor."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    count = len(seqs(bench.send()))
    bench.ack(closing=True, floor=1)
    bench.ack(closing=True, floor=count)
    assert bench.sender.counters.confirmed == 100
    bench.log(1)
    assert seqs(bench.until(bench.now + 5.0)) == []


def test_a_receiver_without_a_place_is_asked_again() -> None:
    """It is known why nothing leaves, until there is one."""
    bench = Bench(acknowledged=True)
    bench.log(*range(10))
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(bench.now + 0.06)
    bench.ack(closing=True, credit=0)
    assert bench.sender.finds_no_place
    asked = bench.until(bench.now + 20.0)
    assert 2 <= len(asked) < 60
    assert all(Header(*parse(data)).type == DatagramType.SYNC for data in asked)
    bench.ack()
    assert not bench.sender.finds_no_place
    assert records(bench.send()) == [*range(10)]


def test_sealed_with_a_key_and_believes_only_that_key() -> None:
    """DATA and SYNC carry the tag; an ACK with a checksum is not believed."""
    key = HmacKey(9, b"s" * 32)
    bench = acknowledged(seal=key.sender)
    bench.log(1)
    (sync,) = bench.send()
    assert header(sync).key_id == 9
    decode_sync(key.receiver.open(sync), key.receiver.overhead)
    bench.ack(cookie=COOKIE)
    assert bench.sender.counters.ignored == {"unknown_key": 1}
    ack = Ack(receiver_epoch=EPOCH, cookie=COOKIE)
    data = encode_ack(key.receiver, ack, stream_id=STREAM, counter=1, sealed_at=0)
    bench.sender.receive_datagram(data, bench.now)
    assert len(bench.until(0.1)) == 1


def test_an_answer_to_what_the_spool_never_had_settles_the_rest() -> None:
    """A process may have sent more from memory than it had stored when it died."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(50))
    bench.until(1.0)
    store_all(bench, spool)

    heir = with_spool()
    heir.sender.resume(
        [(header(data), len(data)) for data in spool.values()], heir.now, wall=heir.now
    )
    heir.send()
    heir.ack(cookie=COOKIE)
    heir.until(heir.now + 0.1)
    heir.ack(floor=len(spool) + 7, bitmap=0b1010)
    assert heir.sender.counters.confirmed == 50
    assert heir.sender.is_idle
