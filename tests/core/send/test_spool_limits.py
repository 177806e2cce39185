"""The limits of a spool: which segment goes, and when."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from batchudp_handler.core.send.spool_limits import SEGMENT_SIZE, SEGMENT_SPAN, SpoolLimits


@dataclass(eq=False)
class Stream:
    size: int
    oldest_birth: float


OLD, YOUNG, EMPTY = Stream(60, 1.0), Stream(30, 2.0), Stream(0, float("inf"))


@pytest.mark.parametrize(
    ("size", "goes"), [(0, None), (10, None), (11, OLD), (100, OLD)], ids=[0, 10, 11, 100]
)
def test_the_oldest_segment_goes_first(size: int, goes: Stream | None) -> None:
    """As soon as one byte does not fit, whichever stream it is for."""
    assert SpoolLimits(max_bytes=100).next_to_drop([YOUNG, EMPTY, OLD], size) is goes


def test_nothing_goes_where_nothing_is_left() -> None:
    """What is larger than the whole room pushes nothing out that is not there."""
    assert SpoolLimits(max_bytes=100).next_to_drop([EMPTY], 101) is None


def test_the_smallest_spool_has_several_segments() -> None:
    """Dropping the oldest never empties it; a large one has segments of the usual size."""
    assert SpoolLimits(max_bytes=400).segment_size == 100
    assert SpoolLimits().segment_size == SEGMENT_SIZE
    assert SpoolLimits(max_age=80.0).segment_span == 10.0
    assert SpoolLimits().segment_span == SEGMENT_SPAN


@pytest.mark.parametrize(
    ("size", "now", "takes"), [(60, 9.9, True), (61, 9.9, False), (60, 10.0, False)]
)
def test_a_segment_is_written_to_until_it_is_full_or_old(
    size: int, now: float, takes: bool
) -> None:
    """It was begun at 0 and holds 40 of its 100 bytes."""
    limits = SpoolLimits(max_bytes=400, max_age=80.0)
    assert limits.takes(40, 0.0, size, now) is takes


def test_a_segment_is_kept_until_its_last_record_is_too_old() -> None:
    """That record may have come when the segment was an eighth of the age old."""
    assert SpoolLimits(max_age=80.0).expired_before(100.0) == 10.0


def test_excess() -> None:
    """Counted from the limit."""
    assert [SpoolLimits(max_bytes=100).excess(size) for size in (90, 100, 101)] == [-10, 0, 1]
