"""What an acknowledged stream gives up, or cannot keep: records, groups of fragments, stored ones.

Each record is counted once, by its cause, whatever happens to its datagram afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.storage import BATCH
from batchudp_handler.core.wire.constants import MAX_FRAGMENTS
from tests.core.send.bench import (
    acknowledged,
    away_with,
    header,
    is_data,
    seqs,
    store_all,
    syncs,
    with_spool,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

BIG = list(range(200))
"""A record that takes several datagrams of 200 bytes."""


def test_what_was_sealed_and_never_sent_is_dropped_by_its_cause() -> None:
    """Nobody can have it: unlike what was sent, it is no doubtful case."""
    bench = acknowledged()
    bench.log(*range(300))
    bench.send()
    sealed = bench.sender.retained_records
    assert sealed > 0
    bench.sender.drop_oldest(1, "buffer_full")
    gone = bench.dropped["buffer_full"]
    assert 0 < gone < 300
    assert bench.sender.counters.unconfirmed == 0
    assert bench.sender.floor > 0
    bench.sender.drop_oldest(1_000, "buffer_full")
    assert bench.dropped == {"buffer_full": 300}
    bench.check_identity(300)


def test_a_record_in_fragments_goes_as_one() -> None:
    """Also if only the first of its datagrams was sent: the others are of no use."""
    bench = acknowledged()
    bench.log(BIG)
    bench.open()
    assert bench.sender.datagram_to_send(bench.now)
    bench.sender.on_datagram_sent(bench.now)
    bench.sender.drop_oldest(1, "buffer_full")
    assert bench.sender.counters.unconfirmed == 1
    assert bench.dropped == {}
    assert bench.sender.is_idle
    bench.check_identity(1)


def test_a_record_that_cannot_be_encoded_takes_no_number() -> None:
    """The next one gets the first."""
    bench = acknowledged()
    bench.log(...)
    bench.open()
    assert seqs(bench.send()) == []
    assert bench.dropped == {"encode_error": 1}
    bench.log(1)
    assert seqs(bench.send()) == [0]


def huge(snapshots: Sequence[Snapshot], /) -> Encoded:
    """A body that takes more datagrams of 128 bytes than a record may have."""
    size = 100 * MAX_FRAGMENTS
    return Encoded(0, b"x" * size * len(snapshots), size * len(snapshots))


def test_a_record_that_fits_no_more_is_dropped_and_not_waited_for() -> None:
    """The path has become so small that its fragments would be too many."""
    bench = acknowledged(encoder=huge, max_datagram_size=2_000)
    bench.sender.send_batch([(1, *(None,) * 23)], bench.now, bench.now)
    bench.open()
    bench.fail(SendFailure.TOO_BIG, 128)
    last = bench.until(bench.now + 1.0)
    assert bench.dropped == {"oversize": 1}
    assert seqs(last) == []
    assert syncs(last)[0].floor == syncs(last)[0].next_seq > 0
    bench.check_identity(1)


# --- with a spool --------------------------------------------------------------------------------


def test_no_more_is_sealed_for_the_spool_at_a_time_than_it_is_offered() -> None:
    """The thread has others to serve; what is left is sealed when it asks again."""
    bench = with_spool()
    bench.log(*range(10_000))
    assert len(bench.sender.datagrams_to_store(bench.now)) == BATCH
    assert len(bench.sender.window) == BATCH
    assert bench.sender.pending_records > 0
    store_all(bench, {})
    assert bench.sender.spooled_records == 10_000


def test_bytes_that_come_back_too_late_are_not_kept() -> None:
    """The datagram was settled meanwhile, or somebody has brought them already."""
    bench = with_spool(max_retained_bytes=100)
    spool: dict[int, bytes] = {}
    for number in range(10):
        bench.log(list(range(number, number + 30)))
        bench.until(bench.now)
        store_all(bench, spool)
    bench.open()
    first, *_ = bench.sender.datagrams_to_load()
    bench.sender.on_loaded(first, spool[first])
    held = bench.sender.retained_bytes
    bench.sender.on_loaded(first, None)
    bench.sender.on_loaded(first, spool[first])
    assert bench.sender.retained_bytes == held > 0
    assert seqs(bench.send()) == [first]
    bench.ack(floor=first + 1)
    bench.sender.on_loaded(first, spool[first])
    assert bench.sender.retained_bytes == 0
    assert bench.dropped == {}
    bench.check_identity(10)


def test_a_record_in_fragments_that_the_spool_deletes_is_counted_once() -> None:
    """Each of its numbers is told; what the spool never had is none of ours."""
    bench = with_spool(max_retained_bytes=100)
    spool: dict[int, bytes] = {}
    bench.log(BIG, BIG)
    bench.until(0.0)
    store_all(bench, spool)
    assert len(spool) > 4
    bench.sender.on_spool_dropped(0, max(spool) + 10)
    assert bench.dropped == {"spool_full": 2}
    assert bench.sender.floor == len(spool)
    bench.check_identity(2)


def test_what_was_lost_once_is_not_counted_again() -> None:
    """Its number stays until the floor passes it, and the spool may tell of it again."""
    bench = with_spool(max_retained_bytes=100)
    bench.log(BIG, BIG)
    bench.until(0.0)
    store_all(bench, {})
    last = bench.sender.window.next_seq - 1
    for _ in range(2):
        bench.sender.on_loaded(last, None)
    bench.sender.on_spool_dropped(last, last)
    assert bench.dropped == {"spool_corrupt": 1}
    assert bench.sender.spooled_records == 1
    bench.check_identity(2)


def test_a_record_that_lost_its_last_fragment_is_given_up_and_the_next_arrives() -> None:
    """Of the fragments that are there none is sent."""
    first, spool = with_spool(), dict[int, bytes]()
    first.log(BIG, 7)
    first.until(1.0)
    store_all(first, spool)
    fragments = max(spool)
    assert header(spool[fragments - 1]).frag_count == fragments > 2
    del spool[fragments - 1]
    heir = with_spool()
    heir.sender.resume([(header(data), len(data)) for data in spool.values()], 0.0, wall=0.0)
    assert heir.sender.spooled_records == 1
    assert heir.sender.floor == fragments
    heir.open()
    for seq in heir.sender.datagrams_to_load():
        heir.sender.on_loaded(seq, spool[seq])
    assert seqs(heir.send()) == [fragments]


def test_what_another_receiver_may_have_had_is_unconfirmed_for_want_of_room() -> None:
    """Those that were sent and those that were not are told apart."""
    bench = acknowledged()
    away_with(bench, *range(1, 101))
    bench.log(*range(200))
    bench.send()
    bench.sender.drop_oldest(1_000, "buffer_full")
    assert bench.sender.counters.unconfirmed == 100
    assert bench.dropped == {"buffer_full": 200}
    bench.check_identity(301)
    assert [data for data in bench.send() if is_data(data)] == []
