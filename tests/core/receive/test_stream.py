"""What streams of both modes do with datagrams, fragments and SYNCs."""

from __future__ import annotations

import pytest

from batchudp_handler.core.receive.events import (
    BatchReceived,
)
from batchudp_handler.core.receive.reassembly import ReassemblyLimits
from batchudp_handler.core.receive.stream import Stream
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import CHECKSUM
from tests.core.receive.bench import AWAY, KEY, OTHER_KEY, Bench, Source, connected


def test_fragments_are_one_batch() -> None:
    """Its records count once, and the datagram after it follows."""
    bench, source = Bench(), Source()
    body = bytes(range(256))
    group = source.fragments(body, 100)
    after = source.data()
    bench.feed(group[2], group[0], after, group[1])
    batches = bench.of(BatchReceived)
    assert [batch.seq for batch in batches] == [3, 0]
    assert batches[1].body == body
    assert batches[1].n_rec == 1
    bench.handle()
    assert bench.stream().delivered == 11
    assert bench.stats().reassembly_bytes == 0


def test_a_group_that_contradicts_itself_is_rejected() -> None:
    """Its records are rejected once; all its fragments are done with."""
    bench, source = Bench(), Source()
    group = source.fragments(bytes(300), 100, n_rec=4)
    liar = source.data(4, bytes(50), seq=1, rec=0, frag_index=1, frag_count=3)
    bench.feed(group[0], liar, group[1], group[2])
    assert bench.of(BatchReceived) == []
    assert bench.stream().rejected == {"group_mismatch": 4}
    assert bench.stats().reassembly_bytes == 0


def test_a_group_that_can_not_fit_is_rejected() -> None:
    """Final at its first fragment, and counted once."""
    bench = Bench(reassembly=ReassemblyLimits(group_bytes=250))
    source = Source()
    bench.feed(*source.fragments(bytes(301), 100, n_rec=2), source.data())
    assert bench.stream().rejected == {"inflate_limit": 2}
    assert [batch.seq for batch in bench.of(BatchReceived)] == [4]


def test_a_group_that_turns_out_too_large_is_rejected() -> None:
    """Its last fragment came first and told nothing of the others."""
    bench = Bench(reassembly=ReassemblyLimits(group_bytes=250))
    source = Source()
    group = source.fragments(bytes(350), 100, n_rec=2)
    bench.feed(group[3], group[0], *group, source.data())
    assert bench.stream().rejected == {"inflate_limit": 2}
    assert bench.stats().reassembly_bytes == 0
    assert [batch.seq for batch in bench.of(BatchReceived)] == [4]


def test_a_group_that_contradicts_later_datagrams_is_refused() -> None:
    """Its records cannot end before those that a SYNC has told of."""
    bench, source = Bench(), Source()
    bench.feed(source.sync(), source.sync(next_seq=2, floor=2, next_rec=50))
    bench.feed(source.data(4, seq=1, rec=0, frag_index=1, frag_count=3))
    assert bench.stats().refused == {"malformed": 1}
    assert bench.stats().reassembly_bytes == 0
    assert bench.stream().missing == 50


def test_a_thousand_half_open_groups_stay_in_the_budget() -> None:
    """What does not fit is refused; what was admitted completes."""
    bench, source = Bench(), Source()
    bench.feed(source.sync())
    groups = [source.fragments(bytes(30_000), 10_000) for _ in range(1000)]
    for group in groups:
        bench.feed(group[0], drained=False)
    stats = bench.stats()
    assert stats.reassembly_bytes <= 2 << 20
    admitted = 1000 - stats.refused["reassembly_refused"]
    assert admitted > 60
    for group in groups[:admitted]:
        bench.feed(*group[1:], drained=False)
    assert len(bench.of(BatchReceived)) == admitted
    assert bench.stats().reassembly_bytes == 0


def test_a_full_work_queue_refuses_unmarked() -> None:
    """The same datagram is taken later; in one-way mode it is missing until then."""
    bench = Bench(work_queue_bytes=5000)
    source = Source()
    datagrams = [source.data(10, bytes(1000)) for _ in range(5)]
    bench.feed(*datagrams)
    assert len(bench.waiting) == 3
    assert bench.stats().refused == {"no_room": 2}
    assert bench.stats().queued_bytes <= 5000
    bench.handle()
    bench.feed(*datagrams[3:])
    bench.handle()
    assert bench.stream().delivered == 50


def test_a_key_cannot_speak_in_the_stream_of_another() -> None:
    """Whoever began a stream owns it; the checksum owns nothing of a key's."""
    bench = Bench(keys=[KEY, OTHER_KEY], accept_unauthenticated=True)
    source = Source(seal=KEY.sender)
    bench.feed(source.data())
    source.seal = OTHER_KEY.sender
    bench.feed(source.data())
    source.seal = CHECKSUM
    bench.feed(source.sync(closing=True))
    assert len(bench.waiting) == 1
    assert bench.stats().refused == {"auth_failed": 2}


def test_resumed_streams_may_use_an_older_key_for_data() -> None:
    """Spooled datagrams never change, the key of the sender may."""
    bench = Bench(keys=[KEY, OTHER_KEY])
    source = Source(acknowledged=True, seal=KEY.sender)
    spooled = source.datas(2)
    source.seal = OTHER_KEY.sender
    bench.feed(source.sync(resumed=True))
    source.cookie = bench.replies(OTHER_KEY.sender)[0].cookie or NO_COOKIE
    bench.feed(source.sync(resumed=True), *spooled)
    assert [batch.key_id for batch in bench.waiting] == [7, 7]
    bench.handle()
    assert bench.replies(OTHER_KEY.sender)[-1].floor == 2
    assert bench.stream().resumed


def test_a_datagram_that_came_before_is_counted() -> None:
    """Its bytes too; its records with the first of its fragments."""
    bench, source = Bench(), Source()
    first = source.data()
    bench.feed(first, first)
    stream = bench.stream()
    assert (stream.duplicates, stream.duplicate_datagrams) == (10, 1)
    assert (stream.datagrams_received, stream.bytes_received) == (2, 2 * len(first))


def test_a_stream_far_ahead_and_full_of_gaps() -> None:
    """Each mode has its way with it."""
    one_way, source = Bench(), Source()
    one_way.feed(source.data())
    acknowledged, other = connected()
    for bench, each in ((one_way, source), (acknowledged, other)):
        bench.budgets.gaps.limit = 0
        each.datas(5_000, 1)
        bench.feed(each.data())
        each.datas(5_000, 1)
    assert len(one_way.waiting) == 2
    assert acknowledged.stats().refused == {"beyond_window": 1}
    for datagram in Source(1).datas(200, 1)[2::2]:
        one_way.feed(datagram)


def test_what_is_remembered_of_a_stream() -> None:
    """Where it stands, and what has become of its records."""
    bench, source = Bench(), Source()
    bench.feed(source.data(), source.sync(dropped_records=7))
    bench.handle(rejected={"json": 3})
    stream = bench.streams.get(1)
    assert stream is not None
    assert stream.tombstone() == (1, 10, 7, 3, 7)
    bench.feed(source.fragments(bytes(300), 100, n_rec=3)[0])
    assert bench.stats().reassembly_bytes > 0
    stream.release()
    assert bench.stats().reassembly_bytes == 0


def test_a_stream_follows_its_sender() -> None:
    """Each change of the address is counted."""
    bench, source = Bench(), Source()
    bench.feed(source.data())
    bench.feed(source.data(), address=AWAY)
    assert (bench.stream().address, bench.stream().address_changes) == (AWAY, 1)


def test_each_mode_completes_the_stream() -> None:
    """It is no stream without one."""
    with pytest.raises(TypeError, match="abstract"):
        Stream()  # type: ignore[abstract, call-arg]  # that is what is tested


def test_an_acknowledged_group_that_contradicts_itself_is_final() -> None:
    """Its datagrams need no handler, and the floor passes them."""
    bench, source = connected()
    group = source.fragments(bytes(300), 100, n_rec=4)
    liar = source.data(4, bytes(50), seq=1, rec=0, frag_index=1, frag_count=3)
    bench.feed(group[0], liar)
    assert bench.stream().rejected == {"group_mismatch": 4}
    assert bench.replies()[-1].floor == 3


def test_gaps_beyond_the_budget_are_settled_first() -> None:
    """Before another one is made."""
    bench, source = Bench(), Source()
    bench.budgets.gaps.limit = 10
    bench.feed(*source.datas(200, 1)[::2])
    assert (bench.stream().lost, bench.stream().missing) == (35, 64)
