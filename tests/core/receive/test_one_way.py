"""One-way datagrams find their stream, and are never answered."""

from __future__ import annotations

from batchudp_handler.core.receive.events import AddressShared
from batchudp_handler.core.wire.datagram import CHECKSUM
from tests.core.receive.bench import AWAY, HOME, KEY, WALL, Bench, Source, connected


def test_one_way_is_never_answered() -> None:
    """No reply to DATA, SYNC, duplicates, gaps or closing."""
    bench, source = Bench(), Source()
    first, _, third = source.datas(3)
    bench.feed(source.sync(), first, first, third, source.sync(closing=True))
    bench.wait(1000.0)
    assert bench.sent == []
    assert bench.stats().replies == 0


def test_a_one_way_stream_needs_no_proof() -> None:
    """Nobody is answered, so nothing can be reflected."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    bench.feed(source.data(), address=AWAY)
    assert [batch.address for batch in bench.waiting] == [HOME, AWAY]
    assert bench.stream().address_changes == 1


def test_datagrams_of_forgotten_streams_are_copies() -> None:
    """A second goodbye begins nothing, nor does a datagram that came before."""
    bench, source = Bench(), Source()
    first, goodbye = source.data(), source.sync(closing=True)
    bench.feed(first, goodbye)
    bench.handle()
    bench.feed(first, source.sync(closing=True))
    stats = bench.stats()
    assert (stats.streams_seen, stats.duplicates, stats.refused) == (1, 10, {})
    assert bench.waiting == []


def test_news_of_a_forgotten_stream_bring_it_back() -> None:
    """Its numbers go on where they were."""
    bench, source = Bench(), Source()
    bench.feed(source.data(), source.sync(closing=True, dropped_records=4))
    bench.handle()
    bench.feed(source.sync(closing=True, dropped_records=6))
    assert bench.stats().sender_dropped == 6
    assert bench.stats().streams_seen == 2


def test_a_stream_of_the_other_mode_is_contradicted() -> None:
    """Nothing of it changes."""
    bench, source = connected()
    source.acknowledged = False
    bench.feed(source.data(), source.sync())
    assert bench.stats().refused == {"malformed": 2}


def test_records_that_begin_no_stream_are_counted() -> None:
    """Once for each batch, as far as the headers say how many."""
    bench = Bench(work_queue_bytes=1_000)
    bench.feed(Source(1).data(1, bytes(600)))
    group = Source(2).fragments(bytes(300), 100, n_rec=3)
    bench.feed(Source(3).data(), *group)
    assert bench.stats().refused_records == {"no_room": 13}


def test_only_new_streams_with_a_key_are_asked_for_their_time() -> None:
    """What was sealed before the start may be a recording."""
    bench = Bench(keys=[KEY], accept_unauthenticated=True)
    for number, seal in ((1, KEY.sender), (2, CHECKSUM)):
        source = Source(number, seal=seal)
        source.sealed_at = int(WALL) - 60
        bench.feed(source.data())
    assert [batch.stream_id for batch in bench.waiting] == [2]
    assert bench.stats().refused == {"stale": 1}


def test_even_gaps_are_a_sign_of_a_shared_address() -> None:
    """Every second datagram goes to somebody else."""
    bench, source = Bench(), Source()
    for datagram in source.datas(60)[::2]:
        bench.feed(datagram)
    assert bench.of(AddressShared)


def test_a_fresh_stream_with_a_key_is_taken() -> None:
    """Five seconds are allowed for clocks that differ a little."""
    bench, source = Bench(keys=[KEY]), Source(seal=KEY.sender)
    source.sealed_at = int(WALL) - 5
    bench.feed(source.data())
    assert len(bench.waiting) == 1
