"""What a sender says in its SYNCs counts once, and an old SYNC not at all."""

from __future__ import annotations

from math import inf

import pytest

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.receive.sender_report import SenderReport
from batchudp_handler.core.wire.sync import Sync
from tests.core.receive.bench import Bench, Source


def test_an_old_sync_changes_nothing() -> None:
    """Its counter must grow."""
    bench, source = Bench(), Source()
    old = source.sync(dropped_records=1)
    bench.feed(source.sync(dropped_records=2), old)
    assert bench.stats().refused == {"replayed": 1}
    assert bench.stream().sender_dropped == 2


def test_a_sender_that_promises_nothing_never_vanishes() -> None:
    """Silence is too long after three promised intervals."""
    report = SenderReport()
    assert report.vanish_time(5.0) == inf
    report.update(0, Sync(promise_ms=2_000, next_seq=0, floor=0, next_rec=0))
    assert report.vanish_time(5.0) == 11.0


def test_the_count_of_drops_wraps_and_never_runs_backwards() -> None:
    """A count that is lower than before is an old one."""
    report = SenderReport(dropped=2**32 - 2)
    assert report.update(0, Sync(dropped_records=3, next_seq=0, floor=0, next_rec=0)) == 5
    assert report.update(1, Sync(dropped_records=1, next_seq=0, floor=0, next_rec=0)) == 0
    assert report.dropped_since(2**32 - 2) % 2**32 == 5


def test_what_was_said_once_stays_said() -> None:
    """A stream that closes, or came out of a spool, does so for good."""
    report = SenderReport()
    report.update(0, Sync(closing=True, resumed=True, next_seq=0, floor=0, next_rec=0))
    report.update(1, Sync(next_seq=0, floor=0, next_rec=0))
    assert (report.closing, report.resumed, report.counter) == (True, True, 1)


def test_only_newer_syncs_are_new() -> None:
    """The counter of the latest one is old."""
    report = SenderReport(counter=4)
    report.check_new(5)
    with pytest.raises(DecodeError):
        report.check_new(4)
