"""When an operator hears of refusals, what a report holds, and how much is remembered."""

from __future__ import annotations

import sys
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.receive.refusals import INTERVAL, NAMED_SOURCES, Refusals, Report


def test_the_first_at_once_then_once_a_minute() -> None:
    """What follows within the minute comes together in one report."""
    refusals = Refusals()
    refusals.add("stale", "192.0.2.1")
    assert refusals.due(10.0) == [Report("stale", 1, (("192.0.2.1", 1),))]
    for _ in range(1000):
        refusals.add("stale", "192.0.2.1")
        assert refusals.due(10.0 + INTERVAL - 0.001) == []
    assert refusals.next_due == 10.0 + INTERVAL
    assert refusals.due(10.0 + INTERVAL) == [Report("stale", 1000, (("192.0.2.1", 1000),))]
    assert refusals.due(1e9) == []
    assert refusals.next_due == float("inf")


def test_each_reason_has_its_own_minute() -> None:
    """Noise of one kind does not hide another."""
    refusals = Refusals()
    refusals.add("malformed", "a")
    refusals.due(0.0)
    refusals.add("malformed", "a")
    refusals.add("auth_failed", "a")
    assert [report.reason for report in refusals.due(1.0)] == ["auth_failed"]


def test_the_rest_comes_at_the_end() -> None:
    """What waits for its minute is told when there will be none."""
    refusals = Refusals()
    refusals.add("stale", "a", 2)
    refusals.due(0.0)
    refusals.add("stale", "b", 3)
    assert refusals.rest(1.0) == [Report("stale", 3, (("b", 3),))]
    assert refusals.rest(1.0) == []


def test_a_million_sources_take_no_more_memory_than_a_few() -> None:
    """Addresses can be forged: the first are named, the others are counted."""
    refusals = Refusals()
    for number in range(100_000):
        refusals.add("not_allowed", f"source {number}")
    assert sum(map(sys.getsizeof, refusals._unreported["not_allowed"].sources)) < 1_000
    (report,) = refusals.due(0.0)
    assert len(report.sources) == NAMED_SOURCES
    assert (report.count, report.others) == (100_000, 100_000 - NAMED_SOURCES)


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 2)), max_size=50))
def test_every_refusal_is_in_exactly_one_report(steps: list[tuple[float, int]]) -> None:
    """And never are two reports of one reason closer than a minute."""
    refusals, now, told = Refusals(), 0.0, dict[str, list[tuple[float, int]]]()
    for pause, reason in steps:
        now += pause
        refusals.add(str(reason), "a")
        for report in refusals.due(now):
            told.setdefault(report.reason, []).append((now, report.count))
    for reports in told.values():
        assert all(after - before >= INTERVAL for (before, _), (after, _) in pairwise(reports))
    counted = sum(count for reports in told.values() for _, count in reports)
    assert counted + sum(report.count for report in refusals.rest(now)) == len(steps)
