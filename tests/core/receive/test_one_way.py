"""One-way datagrams find their stream, and are never answered."""

from __future__ import annotations

from tests.core.receive.bench import AWAY, HOME, Bench, Source


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
