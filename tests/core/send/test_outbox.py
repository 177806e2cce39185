"""What is sealed, until it is settled: for want of room, on a smaller path, with a spool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.datagram import CHECKSUM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot
import json

from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.storage import StoredDatagram
from batchudp_handler.core.wire.auth import HmacKey
from tests.core.send.bench import (
    COOKIE,
    EPOCH,
    STREAM,
    Link,
    acknowledged,
    answer_all,
    away_with,
    header,
    is_data,
    records,
    seqs,
    store_all,
    syncs,
    with_spool,
)


def test_the_oldest_go_for_want_of_room() -> None:
    """Whole datagrams; as they were sent, nobody knows whether they arrived."""
    bench = acknowledged()
    away_with(bench, *range(1, 101))
    before = bench.sender.retained_records
    bench.sender.drop_oldest(5, "buffer_full")
    given_up = bench.sender.counters.unconfirmed
    assert 5 <= given_up < before
    assert bench.sender.retained_records == before - given_up
    assert bench.dropped == {}
    bench.check_identity(101)
    bench.sender.drop_oldest(1_000, "buffer_full")
    assert (bench.sender.counters.unconfirmed, bench.sender.retained_records) == (100, 0)
    bench.check_identity(101)


def test_what_went_for_want_of_room_is_not_waited_for() -> None:
    """The receiver that comes back learns where the rest begins, and gets it."""
    bench = acknowledged()
    away_with(bench, *range(1, 101))
    bench.sender.drop_oldest(5, "buffer_full")
    lowest = bench.sender.floor
    bench.ack(floor=1)
    again = bench.until(bench.now + 1.0)
    assert syncs(again)[0].floor == lowest
    assert min(seqs(again)) == lowest
    bench.ack(floor=lowest + len(set(seqs(again))))
    bench.check_identity(101)
    assert bench.sender.is_idle


def test_records_without_a_number_go_after_those_that_have_one() -> None:
    """They are younger; they count as dropped, and the next receiver is told of them."""
    bench = acknowledged()
    bench.log(*range(5))
    bench.send()
    bench.sender.drop_oldest(4, "buffer_full")
    assert bench.dropped == {"buffer_full": 4}
    bench.check_identity(5)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    assert bench.sender.counters.confirmed == 1
    assert syncs(bench.until(bench.now + 20.0))[-1].dropped_records == 4


def test_what_the_spool_has_stays() -> None:
    """Its room is another; only what memory alone has makes room in memory."""
    bench = with_spool()
    bench.log(*range(100))
    store_all(bench, {})
    stored = bench.sender.spooled_records
    bench.sender.drop_oldest(1_000, "buffer_full")
    assert bench.sender.spooled_records == stored > 0
    bench.check_identity(100)


def test_emsgsize_seals_again_in_fragments() -> None:
    """What was sealed too large leaves as fragments under new numbers."""
    bench = acknowledged(max_datagram_size=1_000)
    bench.log(*range(200))
    bench.open()
    bench.now += 0.1
    refused = bench.fail(SendFailure.TOO_BIG, 300)
    sent = bench.until(bench.now + 0.02)
    assert refused not in sent
    assert max(map(len, sent)) <= 300
    group = [data for data in sent if is_data(data)]
    assert json.loads(b"".join(CHECKSUM.open(data) for data in group)) == list(range(200))
    assert syncs(sent)[0].floor == 1
    assert seqs(sent) == [1, 2, 3, 4]
    assert bench.sender.counters.resealed == 0
    bench.ack(floor=5)
    assert bench.sender.counters.confirmed == 200
    bench.check_identity(200)


def test_sealing_again_what_was_sent_is_counted() -> None:
    """A path that became smaller: copies are possible, and their number is known."""
    bench = acknowledged(max_datagram_size=1_000)
    bench.log(*range(200))
    bench.open()
    bench.send()
    bench.sender.set_max_datagram_size(300)
    assert max(map(len, bench.until(bench.now + 0.1))) <= 300
    assert bench.sender.counters.resealed == 200


def test_resealing_works_with_a_key() -> None:
    """The sender opens its own datagrams to cut them smaller."""
    key = HmacKey(9, b"s" * 32)
    bench = acknowledged(seal=key.sender, own_seal=key.receiver, max_datagram_size=1_000)
    bench.log(*range(200))
    bench.send()
    for counter, cookie in ((1, COOKIE), (2, None)):
        ack = Ack(receiver_epoch=EPOCH, cookie=cookie, credit=1 << 20)
        data = encode_ack(key.receiver, ack, stream_id=STREAM, counter=counter, sealed_at=0)
        bench.sender.receive_datagram(data, bench.now)
        bench.until(bench.now + 0.06)
    bench.now += 0.1
    bench.sender.set_max_datagram_size(300)
    group = [data for data in bench.until(bench.now + 0.02) if is_data(data)]
    body = b"".join(key.receiver.open(data) for data in group)
    assert json.loads(body) == list(range(200))


def test_while_the_receiver_is_away_datagrams_are_stored() -> None:
    """Sealed records are offered once, and count as spooled."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(500))
    bench.until(1.0)
    store_all(bench, spool)
    assert bench.sender.spooled_records == 500
    assert bench.sender.datagrams_to_store(bench.now) == []
    bench.check_identity(500)


def test_an_open_stream_with_room_stores_nothing() -> None:
    """The disk is for the time when nobody answers."""
    bench = with_spool()
    bench.log(*range(100))
    bench.open()
    bench.send()
    assert bench.sender.datagrams_to_store(bench.now) == []


def test_write_through_stores_everything() -> None:
    """With ALWAYS even an open stream's datagrams go to the spool."""
    bench = acknowledged(storage=StoragePolicy.ALWAYS)
    bench.log(*range(100))
    bench.open()
    bench.send()
    (first, *_) = bench.sender.datagrams_to_store(bench.now)
    assert isinstance(first, StoredDatagram)
    assert first.seq == 0


def test_stored_datagrams_leave_memory_and_are_loaded_again() -> None:
    """More than fits in memory is on disk only, and comes back in order when the way is free."""
    bench = with_spool(max_retained_bytes=4_000)
    spool: dict[int, bytes] = {}
    total = 0
    while total < 5_000:
        bench.log(*range(total, total + 50))
        total += 50
        bench.until(bench.now + 0.01)
        store_all(bench, spool)
    assert bench.sender.retained_bytes < 4_200
    assert bench.sender.spooled_records > 4_000
    bench.open()
    sent: dict[int, bytes] = {}
    while not bench.sender.is_idle:
        sent.update({header(data).seq: data for data in bench.send() if is_data(data)})
        for seq in bench.sender.datagrams_to_load():
            bench.sender.on_loaded(seq, spool[seq])
        bench.now += 0.01
        bench.ack(floor=min(set(range(len(sent) + 1)) - set(sent)))
    assert records([sent[seq] for seq in sorted(sent)]) == list(range(total))
    assert bench.sender.counters.confirmed == total
    assert bench.sender.floor == len(sent)


def test_with_room_in_memory_stored_datagrams_stay_at_hand() -> None:
    """The disk is a second copy then, and nothing has to be read back."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(500))
    bench.until(1.0)
    store_all(bench, spool)
    bench.open()
    assert bench.sender.datagrams_to_load() == []
    assert seqs(bench.send())


def test_a_group_is_cut_smaller_also_when_the_spool_has_parts_of_it() -> None:
    """Fragments that are held at the far side and not in memory are read back for it."""
    bench = with_spool(max_retained_bytes=500)
    spool: dict[int, bytes] = {}
    big = list(range(290))
    bench.log(big)
    bench.until(0.0)
    store_all(bench, spool)
    bench.open()
    sent: dict[int, bytes] = {}
    for limit in (200, 140):
        bench.sender.set_max_datagram_size(limit)
        for _ in range(60):
            for seq in bench.sender.datagrams_to_load():
                bench.sender.on_loaded(seq, spool[seq])
            sent.update({header(data).seq: data for data in bench.send() if is_data(data)})
            if limit == 200 and len(sent) == len(spool):
                bench.ack(bitmap=1 << max(spool))  # the last one, which stays small enough
            bench.now += 0.01
    last = {seq: data for seq, data in sent.items() if seq >= len(spool)}
    body = b"".join(CHECKSUM.open(last[seq]) for seq in sorted(last))
    assert json.loads(body) == [big]
    assert bench.sender.floor == len(spool)


def test_a_full_disk_is_left_alone_for_a_while() -> None:
    """After a failure nothing is offered for five seconds; memory keeps the records."""
    bench = with_spool()
    bench.log(*range(100))
    bench.until(1.0)
    assert bench.sender.datagrams_to_store(1.0)
    bench.sender.on_store_failed(1.0)
    assert bench.sender.datagrams_to_store(5.9) == []
    assert bench.sender.datagrams_to_store(6.0)
    bench.check_identity(100)


def test_what_the_spool_deleted_is_counted() -> None:
    """Records on deleted segments are dropped by cause; those still in memory are not."""
    bench = with_spool(max_retained_bytes=1_000)
    spool: dict[int, bytes] = {}
    for start in range(0, 1_000, 50):
        bench.log(*range(start, start + 50))
        bench.until(bench.now + 0.01)
        store_all(bench, spool)
    before = bench.sender.spooled_records
    bench.sender.on_spool_dropped(0, max(spool))
    assert bench.dropped["spool_full"] > 0
    assert bench.dropped["spool_full"] + bench.sender.retained_records == before
    bench.check_identity(1_000)


def test_a_corrupt_frame_drops_its_record_with_all_its_fragments() -> None:
    """A group that lost a fragment can never be final: all of it is given up, once counted."""
    bench = with_spool(max_retained_bytes=100)
    spool: dict[int, bytes] = {}
    bench.log(list(range(200)))
    bench.until(0.0)
    store_all(bench, spool)
    bench.open()
    wanted = bench.sender.datagrams_to_load()
    assert len(wanted) > 2
    bench.sender.on_loaded(wanted[1], None)
    assert bench.dropped == {"spool_corrupt": 1}
    assert bench.sender.is_idle
    bench.check_identity(1)


def test_give_up_leaves_spooled_records_to_another_process() -> None:
    """They are neither confirmed nor lost, and no goodbye says that they will never come."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(100))
    bench.until(1.0)
    store_all(bench, spool)
    bench.sender.close()
    bench.sender.give_up()
    assert bench.sender.spooled_records == 100
    assert bench.sender.counters.unconfirmed == 0
    assert bench.send() == []
    bench.check_identity(100)


def test_an_orphaned_stream_is_resumed() -> None:
    """Another process sends the same bytes under the same numbers, and says so in SYNC."""
    first = with_spool()
    spool: dict[int, bytes] = {}
    first.log(*range(500))
    first.until(1.0)
    store_all(first, spool)
    del spool[0]

    second = with_spool()
    second.sender.resume([(header(data), len(data)) for data in spool.values()], 0.0, wall=0.0)
    second.sender.close()
    assert second.sender.floor == 1
    sync = syncs(second.send())[0]
    assert sync.resumed
    assert (sync.floor, sync.next_seq, sync.next_rec) == (1, len(spool) + 1, 500)
    second.ack(cookie=COOKIE)
    second.until(0.1)
    second.ack(floor=1)
    sent: dict[int, bytes] = {}
    while not second.sender.is_closed:
        for seq in second.sender.datagrams_to_load():
            second.sender.on_loaded(seq, spool[seq])
        sent.update({header(data).seq: data for data in second.send() if is_data(data)})
        second.now += 0.06
        second.ack(floor=1 + len(sent))
    assert sent == spool


def test_a_gap_in_the_spool_is_passed_by_the_floor() -> None:
    """Datagrams that the spool lost in the middle are announced as given up."""
    first = with_spool()
    spool: dict[int, bytes] = {}
    first.log(*range(500))
    first.until(1.0)
    store_all(first, spool)
    del spool[2]
    second = with_spool()
    second.sender.resume([(header(data), len(data)) for data in spool.values()], 0.0, wall=0.0)
    second.send()
    second.ack(cookie=COOKIE)
    second.until(0.1)
    for seq in second.sender.datagrams_to_load():
        second.sender.on_loaded(seq, spool[seq])
    second.ack()
    for seq in second.sender.datagrams_to_load():
        second.sender.on_loaded(seq, spool[seq])
    second.send()
    second.ack(floor=2)
    assert second.sender.floor == 3
    assert syncs(second.until(second.now + 1.0))[0].floor == 3


def test_a_datagram_that_left_the_spool_and_not_memory_is_not_spooled() -> None:
    """It counts as retained again, and as unconfirmed when the process gives up."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(50))
    bench.until(1.0)
    store_all(bench, spool)
    assert bench.sender.spooled_records == 50
    bench.sender.on_spool_dropped(0, max(spool))
    assert (bench.sender.spooled_records, bench.sender.retained_records) == (0, 50)
    bench.sender.give_up()
    assert bench.sender.counters.unconfirmed == 50


def test_what_the_spool_lost_is_counted_by_its_cause() -> None:
    """Too old is not the same as too much."""
    bench = with_spool(max_retained_bytes=1_000)
    spool: dict[int, bytes] = {}
    for start in range(0, 1_000, 50):
        bench.log(*range(start, start + 50))
        bench.until(bench.now + 0.01)
        store_all(bench, spool)
    bench.sender.on_spool_dropped(0, max(spool), "expired")
    assert bench.dropped["expired"] > 0
    assert "spool_full" not in bench.dropped
    bench.check_identity(1_000)


def test_a_record_of_which_the_spool_kept_some_fragments_is_given_up() -> None:
    """Nobody could put it together; the others of the stream arrive."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(list(range(200)), 7)
    bench.until(1.0)
    store_all(bench, spool)
    assert len(spool) > 3
    del spool[1]

    heir = with_spool()
    heir.sender.resume(
        [(header(data), len(data)) for data in spool.values()], heir.now, wall=heir.now
    )
    assert heir.dropped == {"spool_corrupt": 1}
    assert heir.sender.spooled_records == 1


def a_large_record(snapshots: Sequence[Snapshot], /) -> Encoded:
    """A record of 500 bytes, alone in its fragments."""
    return Encoded(0, b"x" * 500 * len(snapshots), 500 * len(snapshots))


def test_a_floor_inside_a_group_costs_the_group_and_nothing_else() -> None:
    """A receiver that calls half a record final is wrong; the rest can be neither cut nor kept."""
    link = Link()
    link.log(1)
    link.send()
    answer_all(link, 0.1)
    link.sender.reconfigure(
        SenderSettings(encoder=a_large_record, max_datagram_size=200, acknowledged=True)
    )
    link.log(1)
    link.send()
    first = link.sender.floor
    assert max(link.seqs) >= first + 2
    link.now += 0.1
    link.answer(floor=first + 1)
    link.sender.set_max_datagram_size(128)
    link.log(1)
    link.wait(1.0)
    assert link.sender.counters.dropped == {"oversize": 1}
    assert link.sender.retained_records == 1
