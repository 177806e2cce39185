"""What streams of both modes do with datagrams, fragments and SYNCs."""

from __future__ import annotations

from batchudp_handler.core.receive.events import (
    BatchReceived,
)
from batchudp_handler.core.receive.reassembly import ReassemblyLimits
from batchudp_handler.core.wire.constants import NO_COOKIE
from batchudp_handler.core.wire.datagram import CHECKSUM
from tests.core.receive.bench import KEY, OTHER_KEY, Bench, Source


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
