"""The spool on a real disk: order, bounds, adoption, and the death of its process."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.send.spool_limits import SpoolLimits
from batchudp_handler.spool import Spool, SpoolDirectory
from tests.spool.support import (
    FRAME_SIZE,
    NAME,
    STREAM,
    Clock,
    die,
    fill,
    open_descriptors,
    run_python,
    seal,
    segment_paths,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_stored_is_loaded_in_order(home: SpoolDirectory) -> None:
    """Datagrams come back byte for byte, by number and in their order."""
    spool = home.open(STREAM)
    fill(spool, 20)
    assert spool.read(7) == seal(7)
    assert list(spool.load()) == [(n, seal(n)) for n in range(20)]
    assert [seq for seq, _ in spool.load(after=4, limit=3)] == [5, 6, 7]
    assert [f.seq for f in spool.frames()] == list(range(20))
    assert (len(spool), 19 in spool, 20 in spool) == (20, True, False)


def test_nothing_is_made_before_something_is_stored(home: SpoolDirectory) -> None:
    """A program whose receiver never fails has no files."""
    home.open(STREAM)
    assert not os.path.exists(home.path)


def test_nothing_else_can_read_it(home: SpoolDirectory) -> None:
    """Directories are 0700, files are 0600, whatever the umask."""
    before = os.umask(0)
    try:
        fill(home.open(STREAM), 1)
    finally:
        os.umask(before)
    folder = os.path.join(home.path, NAME)
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in (home.path, folder)} == {0o700}
    files = [os.path.join(folder, name) for name in os.listdir(folder)]
    assert len(files) == 2
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in files} == {0o600}


def test_descriptors_do_not_leak_into_programs_that_are_run(home: SpoolDirectory) -> None:
    """Everything is close-on-exec."""
    before = open_descriptors()
    fill(home.open(STREAM), 1)
    opened = open_descriptors() - before
    assert len(opened) == 3
    assert not any(os.get_inheritable(fd) for fd in opened)


def test_segments_are_bounded(home: SpoolDirectory) -> None:
    """A segment holds at most a mebibyte and is named by its first number."""
    spool = home.open(STREAM)
    for seq in range(40):
        assert spool.append(seal(seq, size=60_000))
    sizes = [os.path.getsize(path) for path in segment_paths(home)]
    assert max(sizes) <= 1 << 20
    assert len(sizes) == 3
    names = [os.path.basename(path) for path in segment_paths(home)]
    assert names[1] == f"{17:020d}-0.seg"
    assert spool.size == home.size == sum(sizes)


def test_release_deletes_what_the_floor_has_passed(home: SpoolDirectory) -> None:
    """A segment goes when all its datagrams are settled; its last one keeps it."""
    spool = home.open(STREAM)
    for seq in range(40):
        spool.append(seal(seq, size=60_000))
    spool.release(17)
    assert len(segment_paths(home)) == 2
    assert spool.records == 23
    spool.release(33)
    assert len(segment_paths(home)) == 2
    assert [seq for seq, _ in spool.load()] == list(range(33, 40))
    spool.release(40)
    assert segment_paths(home) == []
    assert (spool.size, spool.records, len(spool)) == (0, 0, 0)
    assert spool.take_lost() == []


def test_store_after_release(home: SpoolDirectory) -> None:
    """A stream that was drained goes on in a new segment."""
    spool = home.open(STREAM)
    fill(spool, 3)
    spool.release(3)
    fill(spool, 2, first=10)
    assert [seq for seq, _ in spool.load()] == [10, 11]


def test_misuse_raises(home: SpoolDirectory) -> None:
    """Numbers rise, and only sealed datagrams have them."""
    spool = home.open(STREAM)
    fill(spool, 2)
    with pytest.raises(ValueError, match="out of order"):
        spool.append(seal(1))
    with pytest.raises(ValueError, match="not a sealed datagram"):
        spool.append(b"{}")


def test_close_keeps_what_waits_and_removes_what_does_not(home: SpoolDirectory) -> None:
    """A finished stream leaves nothing behind, an unfinished one all it has."""
    full, empty, unused = home.open(STREAM), home.open(1), home.open(2)
    fill(full, 3)
    fill(empty, 3)
    empty.release(3)
    home.close()
    home.close()
    unused.close()
    assert os.listdir(home.path) == [NAME]
    assert len(segment_paths(home)) == 1


# --- adoption -----------------------------------------------------------------------------------


def test_an_orphan_is_adopted(home: SpoolDirectory) -> None:
    """What a dead process left is sent as the stream that it was."""
    fill(home.open(STREAM), 5)
    die(home)
    [spool] = home.adopt()
    assert spool.stream_id == STREAM
    assert list(spool.load()) == [(n, seal(n)) for n in range(5)]
    assert (home.counters.adopted_streams, home.counters.adopted_records) == (1, 5)
    spool.release(5)
    spool.close()
    assert os.listdir(home.path) == []


def test_a_living_stream_is_not_adopted(home: SpoolDirectory) -> None:
    """Neither by another spool directory of the process nor by itself."""
    fill(home.open(STREAM), 1)
    other = SpoolDirectory(home.path)
    assert other.adopt() == []
    assert home.adopt() == []
    assert other.counters.disk_errors == {}


def test_adoption_is_limited_and_goes_on(home: SpoolDirectory) -> None:
    """A thousand orphans are taken a few at a time."""
    for stream in range(5):
        fill(home.open(stream), 1)
    die(home)
    first = home.adopt(limit=3)
    second = home.adopt(limit=3)
    assert [s.stream_id for s in first + second] == list(range(5))
    assert home.adopt() == []


def test_an_adopted_stream_may_grow(home: SpoolDirectory) -> None:
    """Whoever takes a stream over can store what it sends in its name."""
    fill(home.open(STREAM), 3)
    die(home)
    [spool] = home.adopt()
    fill(spool, 2, first=3)
    die(home)
    [spool] = home.adopt()
    assert [seq for seq, _ in spool.load()] == [0, 1, 2, 3, 4]


def test_empty_orphans_are_tidied_away(home: SpoolDirectory) -> None:
    """A stream that died with nothing left to send leaves nothing."""
    os.makedirs(os.path.join(home.path, NAME), mode=0o700)
    assert home.adopt() == []
    assert os.listdir(home.path) == []


def test_half_made_streams_are_tidied_away_when_they_are_old(home: SpoolDirectory) -> None:
    """Death between making a directory and naming it; a young one may still be alive."""
    half_made = os.path.join(home.path, "new-" + NAME)
    os.makedirs(half_made, mode=0o700)
    assert home.adopt() == []
    assert os.path.exists(half_made)
    os.utime(half_made, (1, 1))
    assert home.adopt() == []
    assert not os.path.exists(half_made)


def test_strange_files_are_left_alone(home: SpoolDirectory) -> None:
    """Only what is named like a stream is looked at."""
    fill(home.open(STREAM), 1)
    for name in ("README", "lost+found", "0123456789ABCDEF", "0123"):
        os.makedirs(os.path.join(home.path, name))
    with open(os.path.join(home.path, NAME, "notes.txt"), "w", encoding="utf-8") as file:
        file.write("hello")
    die(home)
    [spool] = home.adopt()
    assert [seq for seq, _ in spool.load()] == [0]
    assert len(os.listdir(home.path)) == 5


def test_kill_at_any_moment(home: SpoolDirectory) -> None:
    """All datagrams whose storing was reported are there after kill -9."""
    code = """
        import sys
        sys.path.insert(0, sys.argv[2])
        from test_spool import SpoolDirectory, STREAM, seal
        spool = SpoolDirectory(sys.argv[1]).open(STREAM)
        for seq in range(100_000):
            assert spool.append(seal(seq))
            print(seq, flush=True)
    """
    with run_python(code, home.path, os.path.dirname(__file__)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "500\n":
                break
        assert home.adopt() == []
        process.kill()
        last = int((process.stdout.read().split() or ["500"])[-1])
    [spool] = home.adopt()
    stored = [seq for seq, _ in spool.load()]
    assert stored[: last + 1] == list(range(last + 1))
    assert len(stored) <= last + 2
    assert home.counters.corrupt_frames == 0


def test_forked_child_lets_go(home: SpoolDirectory) -> None:
    """A child closes what it inherited: the parent's files stay, and its death frees the lock."""
    spool = home.open(STREAM)
    fill(spool, 3)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        home.abandon()
        os.read(reader, 1)
        os._exit(0)
    other = SpoolDirectory(home.path)
    assert other.adopt() == []
    fill(spool, 1, first=3)
    die(home)  # the parent; the child lives on
    adopted: list[Spool] = []
    deadline = 2_000
    while not adopted and deadline:
        adopted = other.adopt()
        deadline -= 1
    assert [seq for seq, _ in adopted[0].load()] == [0, 1, 2, 3]
    os.write(writer, b"x")
    assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
    os.close(writer)
    other.close()


# --- limits -------------------------------------------------------------------------------------


def test_the_oldest_segment_makes_room(tmp_path: Path) -> None:
    """Beyond the size limit the oldest datagrams go, counted and named."""
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_bytes=8 * FRAME_SIZE))
    spool = home.open(STREAM)
    for seq in range(11):
        assert spool.append(seal(seq, n_rec=10))
        assert home.size <= home.limits.max_bytes
    assert [seq for seq, _ in spool.load()] == list(range(4, 11))
    assert spool.take_lost() == [(n, "spool_full") for n in range(4)]
    assert spool.take_lost() == []
    assert home.counters.dropped == {"spool_full": 40}
    assert spool.records == 70
    home.close()


def test_adopted_streams_share_the_room_and_go_first(tmp_path: Path) -> None:
    """A process that dies again and again does not fill the disk."""
    clock = Clock()
    for stream in range(5):
        home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_bytes=8 * FRAME_SIZE), clock=clock)
        clock.now += 10
        home.adopt()
        fill(home.open(stream), 4)
        assert home.size <= home.limits.max_bytes
        die(home)
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_bytes=8 * FRAME_SIZE), clock=clock)
    streams = [spool.stream_id for spool in home.adopt()]
    assert 4 in streams
    assert 0 not in streams
    home.close()


def test_a_datagram_larger_than_the_room_is_refused_at_no_cost(tmp_path: Path) -> None:
    """What can never fit does not push anything out."""
    home = SpoolDirectory(tmp_path, limits=SpoolLimits(max_bytes=4 * FRAME_SIZE))
    spool = home.open(STREAM)
    fill(spool, 3)
    assert not spool.append(seal(3, size=5 * FRAME_SIZE))
    assert len(spool) == 3
    home.close()
