"""Witnessed time: counted by steady clocks, written beside the lock and in segment names."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.spool_age import (
    STAMP_SIZE,
    WitnessedTime,
    decode_stamp,
    encode_stamp,
    first_seq,
    segment_birth,
    segment_name,
)


def test_time_is_what_the_clock_has_moved() -> None:
    """A clock that runs backwards moves nothing."""
    time = WitnessedTime(100.0)
    assert time.at(103.5) == 3.5
    assert time.at(50.0) == 3.5
    assert time.at(51.0) == 4.5


def test_the_most_that_anybody_counted_counts() -> None:
    """Less is not believed."""
    time = WitnessedTime(0.0)
    time.learn(60.0)
    time.learn(30.0)
    assert time.at(1.0) == 61.0


def test_a_stamp_is_read_back_in_whole_seconds() -> None:
    """It always has the same size, so that it can be written over."""
    for seconds in (0.0, 17.9, 1e12):
        assert len(encode_stamp(seconds)) == STAMP_SIZE
        assert decode_stamp(encode_stamp(seconds)) == int(seconds)


@pytest.mark.parametrize(
    "data", [b"", b"no number", encode_stamp(5)[:-2] + b"x\n", encode_stamp(5).upper()[:9]]
)
def test_a_damaged_stamp_says_nothing(data: bytes) -> None:
    """No age is better than a wrong one."""
    assert decode_stamp(data) is None


@pytest.mark.parametrize(
    "name",
    [
        "17.seg",
        "00000000000000000017",
        "0000000000000000001x-e10.seg",
        "\u0661" * 20 + ".seg",
        "lock",
    ],
)
def test_names_of_other_files_begin_with_no_number(name: str) -> None:
    """They are nobody's segments."""
    assert first_seq(name) is None


def test_a_segment_name_holds_number_and_birth() -> None:
    """Names sort by number."""
    name = segment_name(17, 3600.5)
    assert first_seq(name) == 17
    assert segment_birth(name) == 3600.0
    assert name < segment_name(18, 0.0)


@pytest.mark.parametrize("birth", ["", "-", "-xyz", "-" + "f" * 17])
def test_a_name_without_a_birth_has_no_age(birth: str) -> None:
    """Older versions wrote none; made-up ones are not believed."""
    assert segment_birth(f"00000000000000000017{birth}.seg") is None
