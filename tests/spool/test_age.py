"""Datagrams in the spool become old by a clock that nobody sets, and then they go."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.send.spool_limits import SpoolLimits
from batchudp_handler.spool import SpoolDirectory
from tests.spool.support import (
    FRAME_SIZE,
    NAME,
    STREAM,
    Clock,
    die,
    fill,
    segment_paths,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_old_segments_expire(tmp_path: Path) -> None:
    """After max_age a segment goes, in a living stream and at adoption."""
    clock = Clock()
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_age=80), clock=clock)
    spool = home.open(STREAM)
    fill(spool, 2)
    clock.now += 91
    fill(spool, 1, first=2)
    assert [seq for seq, _ in spool.load()] == [2]
    assert spool.take_lost() == [(0, "expired"), (1, "expired")]
    assert home.counters.dropped == {"expired": 2}
    die(home)
    clock.now += 91
    assert home.adopt() == []
    assert home.counters.dropped == {"expired": 3}
    assert home.left_out == {"expired": 1}
    assert os.listdir(tmp_path) == []


def test_no_record_goes_before_its_time(tmp_path: Path) -> None:
    """A segment is written to for an eighth of max_age, and kept for so much longer."""
    clock = Clock()
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_age=80), clock=clock)
    spool = home.open(STREAM)
    for seq in range(17):
        fill(spool, 1, first=seq)
        clock.now += 5
    assert len(segment_paths(home)) == 9
    assert len(spool) == 17
    die(home)
    clock.now += 10
    [spool] = home.adopt()
    assert [seq for seq, _ in spool.load()] == list(range(2, 17))
    home.close()


YEARS = 365 * 86_400.0


@pytest.mark.parametrize("written", [0.0, -50 * YEARS, 80 * YEARS, -8 * 86_400.0])
@pytest.mark.parametrize("found", [0.0, -50 * YEARS, 80 * YEARS, 8 * 86_400.0])
def test_no_wall_clock_makes_a_record_old(
    home: SpoolDirectory, monkeypatch: pytest.MonkeyPatch, written: float, found: float
) -> None:
    """Whatever the clock said when a segment was written, and whatever it says at adoption."""
    fill(home.open(STREAM), 5)
    die(home)
    [path] = segment_paths(home)
    now = time.time()
    for each in (path, os.path.dirname(path), home.path):
        os.utime(each, (max(now + written, 0.0), max(now + written, 0.0)))
    monkeypatch.setattr(time, "time", lambda: now + found)
    monkeypatch.setattr(time, "monotonic", lambda: 12.0)  # the machine has just started
    heir = SpoolDirectory(home.path)
    [spool] = heir.adopt()
    assert [seq for seq, _ in spool.load()] == list(range(5))
    assert heir.counters.dropped == {}
    heir.close()


def test_the_time_that_several_processes_had_it_adds_up(tmp_path: Path) -> None:
    """Each starts from what the last has written down; the clock of each begins elsewhere."""
    for life in range(4):
        clock = Clock(1_000.0 * life)
        home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_age=80), clock=clock)
        if not life:
            fill(home.open(STREAM), 3)
        else:
            [spool] = home.adopt()
            assert len(spool) == 3
        clock.now += 29
        home.close()
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_age=80), clock=Clock())
    assert home.adopt() == []
    assert home.counters.dropped == {"expired": 3}
    assert os.listdir(tmp_path) == []


def test_a_killed_process_has_written_down_the_time_a_minute_ago(tmp_path: Path) -> None:
    """What it has witnessed counts up to then."""
    clock = Clock()
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_age=800), clock=clock)
    fill(home.open(STREAM), 3)
    for _ in range(60):
        clock.now += 10
        home.tend()
    die(home)
    heir_clock = Clock(5.0)
    heir = SpoolDirectory(tmp_path, limits=SpoolLimits(max_age=800), clock=heir_clock)
    [spool] = heir.adopt()
    heir_clock.now += 250
    heir.tend()
    assert len(spool) == 3
    heir_clock.now += 110
    heir.tend()
    assert len(spool) == 0
    heir.close()


def test_a_damaged_note_of_the_time_ages_nothing(home: SpoolDirectory) -> None:
    """Whatever stands in the file of the lock, and whatever a segment's name says."""
    fill(home.open(STREAM), 3)
    die(home)
    lock = os.path.join(home.path, NAME, "lock")
    [path] = segment_paths(home)
    for name in (f"{0:020d}-ffffffffffff.seg", f"{0:020d}.seg", f"{0:020d}-x.seg"):
        for content in (b"", b"ffffffffffffffff 00000000\n", b"9" * 26, os.urandom(26)):
            os.rename(path, path := os.path.join(home.path, NAME, name))
            with open(lock, "wb") as file:
                file.write(content)
            heir = SpoolDirectory(home.path)
            [spool] = heir.adopt()
            assert len(spool) == 3, (name, content)
            assert heir.counters.dropped == {}
            die(heir)


def test_fsync_each_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On request each complete segment is synced, and only then."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for fsync in (False, True):
        home = SpoolDirectory(
            tmp_path / str(fsync), limits=SpoolLimits(max_bytes=16 * FRAME_SIZE), fsync=fsync
        )
        fill(home.open(STREAM), 9)
        home.close()
        assert len(synced) == (3 if fsync else 0)
