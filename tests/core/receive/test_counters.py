"""The counters of a stream add up what its datagrams say."""

from __future__ import annotations

from batchudp_handler.core.receive.counters import StreamCounters
from batchudp_handler.core.wire.datagram import Header


def test_rejected_records_are_counted_by_reason() -> None:
    """Each reason has its own sum."""
    counters = StreamCounters()
    for reason, records in (("json", 2), ("codec", 1), ("json", 3)):
        counters.reject(reason, records)
    assert counters.rejected == {"json": 5, "codec": 1}


def test_the_records_of_a_duplicate_count_once() -> None:
    """All fragments of a group say the same number; the first one counts."""
    counters = StreamCounters()
    for index in range(3):
        counters.add_duplicate(Header(1, 0, 1, 7, 10 + index, 0, 0, 4, index, 3))
    assert (counters.duplicate_datagrams, counters.duplicates) == (3, 4)
