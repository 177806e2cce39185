"""What a sender says in its SYNCs counts once, and an old SYNC not at all."""

from __future__ import annotations

from tests.core.receive.bench import Bench, Source


def test_an_old_sync_changes_nothing() -> None:
    """Its counter must grow."""
    bench, source = Bench(), Source()
    old = source.sync(dropped_records=1)
    bench.feed(source.sync(dropped_records=2), old)
    assert bench.stats().refused == {"replayed": 1}
    assert bench.stream().sender_dropped == 2
