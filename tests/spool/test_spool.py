"""The spool on a real disk: order, limits, death of its process, damage, and disks that fail."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data
from batchudp_handler.core.wire.spool_frame import FRAME_OVERHEAD
from batchudp_handler.spool import Spool, SpoolDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STREAM = 0x0123456789ABCDEF
NAME = "0123456789abcdef"


def seal(seq: int, *, n_rec: int = 1, size: int = 400, stream: int = STREAM) -> bytes:
    """A sealed datagram; its body depends on its number."""
    body = bytes((seq * 7 + i * 13) % 256 for i in range(size))
    return encode_data(
        CHECKSUM, body, acknowledged=True, codec=1, stream_id=stream, seq=seq, rec=seq,
        sealed_at=1_700_000_000, n_rec=n_rec,
    )  # fmt: skip


FRAME_SIZE = FRAME_OVERHEAD + len(seal(0))


class Clock:
    """A clock that goes when told."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(tmp_path: Path) -> Iterator[SpoolDirectory]:
    """A spool directory that is closed at the end."""
    directory = SpoolDirectory(tmp_path / "spool")
    yield directory
    directory.close()


def fill(spool: Spool, count: int, *, first: int = 0) -> None:
    for seq in range(first, first + count):
        assert spool.append(seal(seq, stream=spool.stream_id))


def die(directory: SpoolDirectory) -> None:
    """Leave the files as a killed process does: descriptors closed, nothing tidied."""
    directory.abandon()


def segment_paths(home: SpoolDirectory, name: str = NAME) -> list[str]:
    folder = os.path.join(home.path, name)
    return sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".seg"))


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


def open_descriptors() -> set[int]:
    return {fd for fd in range(256) if _is_open(fd)}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


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


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


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
    home = SpoolDirectory(tmp_path, max_bytes=8 * FRAME_SIZE)
    spool = home.open(STREAM)
    for seq in range(11):
        assert spool.append(seal(seq, n_rec=10))
        assert home.size <= home.max_bytes
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
        home = SpoolDirectory(tmp_path, max_bytes=8 * FRAME_SIZE, clock=clock)
        clock.now += 10
        home.adopt()
        fill(home.open(stream), 4)
        assert home.size <= home.max_bytes
        die(home)
    home = SpoolDirectory(tmp_path, max_bytes=8 * FRAME_SIZE, clock=clock)
    streams = [spool.stream_id for spool in home.adopt()]
    assert 4 in streams
    assert 0 not in streams
    home.close()


def test_a_datagram_larger_than_the_room_is_refused_at_no_cost(tmp_path: Path) -> None:
    """What can never fit does not push anything out."""
    home = SpoolDirectory(tmp_path, max_bytes=4 * FRAME_SIZE)
    spool = home.open(STREAM)
    fill(spool, 3)
    assert not spool.append(seal(3, size=5 * FRAME_SIZE))
    assert len(spool) == 3
    home.close()


def test_old_segments_expire(tmp_path: Path) -> None:
    """After max_age a segment goes, in a living stream and at adoption."""
    clock = Clock()
    home = SpoolDirectory(tmp_path, max_age=80, clock=clock)
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
    home = SpoolDirectory(tmp_path, max_age=80, clock=clock)
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
        home = SpoolDirectory(tmp_path, max_age=80, clock=clock)
        if not life:
            fill(home.open(STREAM), 3)
        else:
            [spool] = home.adopt()
            assert len(spool) == 3
        clock.now += 29
        home.close()
    home = SpoolDirectory(tmp_path, max_age=80, clock=Clock())
    assert home.adopt() == []
    assert home.counters.dropped == {"expired": 3}
    assert os.listdir(tmp_path) == []


def test_a_killed_process_has_written_down_the_time_a_minute_ago(tmp_path: Path) -> None:
    """What it has witnessed counts up to then."""
    clock = Clock()
    home = SpoolDirectory(tmp_path, max_age=800, clock=clock)
    fill(home.open(STREAM), 3)
    for _ in range(60):
        clock.now += 10
        home.tend()
    die(home)
    heir_clock = Clock(5.0)
    heir = SpoolDirectory(tmp_path, max_age=800, clock=heir_clock)
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
        home = SpoolDirectory(tmp_path / str(fsync), max_bytes=16 * FRAME_SIZE, fsync=fsync)
        fill(home.open(STREAM), 9)
        home.close()
        assert len(synced) == (3 if fsync else 0)


# --- damage -------------------------------------------------------------------------------------

FRAMES = 100_000 // FRAME_SIZE


@pytest.fixture
def full_spool(tmp_path: Path) -> Path:
    """100 KB in one segment, as a dead process left them."""
    home = SpoolDirectory(tmp_path / "original")
    fill(home.open(STREAM), FRAMES)
    die(home)
    return tmp_path / "original" / NAME / f"{0:020d}-0.seg"


def adopted_numbers(home: SpoolDirectory) -> list[int]:
    """What an adopter finds; it leaves the files where they are."""
    numbers = [seq for spool in home.adopt() for seq, _ in spool.load()]
    home.abandon()
    return numbers


def test_cut_on_disk(full_spool: Path) -> None:
    """A torn tail costs what was not written to its end, and the file is left as it is."""
    data = full_spool.read_bytes()
    for cut in range(FRAME_SIZE - 8, len(data), 211):
        full_spool.write_bytes(data[:cut])
        home = SpoolDirectory(full_spool.parent.parent)
        whole = cut // FRAME_SIZE
        assert adopted_numbers(home) == list(range(whole)), cut
        assert home.counters.torn_tails == (1 if cut % FRAME_SIZE else 0), cut
        if whole:
            assert full_spool.stat().st_size == cut
        full_spool.parent.mkdir(exist_ok=True, mode=0o700)


def test_flips_on_disk(full_spool: Path) -> None:
    """A changed byte costs one datagram, counted."""
    data = full_spool.read_bytes()
    for at in range(0, len(data) - FRAME_SIZE, 211):
        changed = bytearray(data)
        changed[at] ^= 0x10
        full_spool.write_bytes(changed)
        home = SpoolDirectory(full_spool.parent.parent)
        touched = at // FRAME_SIZE
        assert adopted_numbers(home) == [n for n in range(FRAMES) if n != touched], at
        assert home.counters.corrupt_frames == 1
        assert home.counters.dropped["spool_corrupt"] >= 1


def test_damage_while_we_own_the_file(home: SpoolDirectory) -> None:
    """A datagram that was damaged after it was stored is not sent; its number is told."""
    spool = home.open(STREAM)
    fill(spool, 3)
    [path] = segment_paths(home)
    with open(path, "r+b") as file:
        file.seek(FRAME_SIZE + 50)
        file.write(b"\xff\xff")
    assert [seq for seq, _ in spool.load()] == [0, 2]
    assert spool.take_lost() == [(1, "spool_corrupt")]
    assert home.counters.dropped == {"spool_corrupt": 1}
    assert (spool.records, 1 in spool) == (2, False)
    spool.release(3)
    assert segment_paths(home) == []


def test_files_deleted_under_us(home: SpoolDirectory) -> None:
    """Somebody who tidies up does not end the sender: what is lost is told, and it goes on."""
    spool = home.open(STREAM)
    fill(spool, 2)
    shutil.rmtree(home.path)
    assert spool.read(0) is None
    assert spool.take_lost() == [(0, "spool_removed"), (1, "spool_removed")]
    assert (spool.was_removed, spool.records, spool.size) == (True, 0, 0)
    assert home.counters.dropped == {"spool_removed": 2}
    fill(spool, 1)
    assert list(spool.load()) == [(0, seal(0))]
    home.close()


def test_a_segment_deleted_under_us(home: SpoolDirectory) -> None:
    """The others stay, also when it is the one that is being written."""
    spool = home.open(STREAM)
    for seq in range(20):
        assert spool.append(seal(seq, size=60_000))
    first, last = segment_paths(home)
    os.unlink(last)
    fill(spool, 1, first=20)
    os.unlink(first)
    assert [seq for seq, _ in spool.load()] == [20]
    assert [seq for seq, _ in spool.take_lost()] == list(range(20))
    assert not spool.was_removed
    home.close()


def test_an_empty_spool_that_is_removed_is_made_anew(home: SpoolDirectory) -> None:
    """Nothing is lost then, and what comes later is stored."""
    spool = home.open(STREAM)
    fill(spool, 2)
    spool.release(2)
    shutil.rmtree(home.path)
    spool.check()
    fill(spool, 1, first=2)
    assert [seq for seq, _ in spool.load()] == [2]
    assert home.counters.dropped == home.counters.disk_errors == {}
    home.close()


def test_a_spool_that_is_moved_away_and_replaced(home: SpoolDirectory, tmp_path: Path) -> None:
    """The files stay in use where they are, and nothing is done to what has taken their place."""
    spool = home.open(STREAM)
    fill(spool, 2)
    os.rename(home.path, tmp_path / "moved")
    victim = tmp_path / "spool" / NAME
    victim.mkdir(parents=True, mode=0o700)
    (victim / "lock").write_text("precious")
    (victim / f"{0:020d}-0.seg").write_text("precious")
    fill(spool, 1, first=2)
    assert [seq for seq, _ in spool.load()] == [0, 1, 2]
    spool.release(3)
    home.close()
    assert {path.read_text() for path in victim.iterdir()} == {"precious"}
    assert os.listdir(tmp_path / "moved" / NAME) == []


def test_only_the_last_directory_is_made(tmp_path: Path) -> None:
    """A path with a mistake in it fills no disk that it was not meant for."""
    home = SpoolDirectory(tmp_path / "mistake" / "spool")
    assert not home.open(STREAM).append(seal(0))
    assert home.adopt() == []
    assert list(tmp_path.iterdir()) == []
    assert home.counters.disk_errors == {"ENOENT": 1}
    assert "make it first" in home.counters.last_error


def test_links_are_not_followed(home: SpoolDirectory, tmp_path: Path) -> None:
    """A link in place of a directory or a segment is refused."""
    fill(home.open(STREAM), 1)
    die(home)
    [path] = segment_paths(home)
    target = tmp_path / "target"
    os.rename(path, target)
    os.symlink(target, path)
    assert home.adopt() == []
    assert home.counters.disk_errors == {"foreign_file": 1}
    os.symlink(tmp_path, tmp_path / "link")
    linked = SpoolDirectory(tmp_path / "link")
    assert not linked.open(STREAM).append(seal(0))
    assert linked.counters.disk_errors == {"ENOTDIR": 1}


def test_others_may_not_write(home: SpoolDirectory) -> None:
    """A directory that somebody else could change is not used."""
    os.makedirs(home.path)
    os.chmod(home.path, 0o777)
    assert not home.open(STREAM).append(seal(0))
    assert home.counters.disk_errors == {"EPERM": 1}
    assert "others may write" in home.counters.last_error


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_other_owner(home: SpoolDirectory) -> None:
    """Neither a directory nor a stream of another user is used."""
    fill(home.open(STREAM), 1)
    die(home)
    os.chown(os.path.join(home.path, NAME), 12_345, -1)
    assert home.adopt() == []
    assert home.counters.disk_errors == {"EPERM": 1}
    os.chown(home.path, 12_345, -1)
    assert not home.open(1).append(seal(0, stream=1))
    assert home.counters.disk_errors == {"EPERM": 2}


# --- disks that fail ----------------------------------------------------------------------------

CALLS = ("open", "mkdir", "rename", "pwrite", "ftruncate", "unlink", "rmdir", "fstat", "pread")


class FailingDisk:
    """Lets the n-th system call on files fail, once; a write may be half done before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left = 0
        self.number = number
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return call(*args, **kwargs)
            if name == "pwrite":
                call(args[0], args[1][: len(args[1]) // 2], args[2])
            raise OSError(self.number, os.strerror(self.number))

        return replacement


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_every_call_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whichever call fails, nothing raises, and what is stored is what was reported."""
    disk = FailingDisk(monkeypatch, number)
    failed = 0
    for nth in range(1, 200):
        clock = Clock()
        home = SpoolDirectory(tmp_path / f"{nth}", max_bytes=16 * FRAME_SIZE, clock=clock)
        spool = home.open(STREAM)
        disk.left = nth
        stored = []
        for seq in range(10):
            if spool.append(seal(seq)):
                stored.append(seq)
            clock.now += 5.0
        spool.release(2)
        loaded = {seq for seq, _ in spool.load()}
        clock.now += 1.0  # a read that failed can be repeated
        loaded |= {seq for seq, _ in spool.load()}
        clock.now += 1.0
        home.abandon()
        is_over = disk.left > 0
        disk.left = 0
        failed += not is_over
        waiting = {seq for seq in stored if seq >= 2}
        assert waiting <= loaded
        assert all(seq in spool for seq in waiting)
        assert waiting <= set(adopted_numbers(home)) <= set(stored)
        assert home.counters.corrupt_frames == 0
        if is_over:
            break
    assert failed > 20


def test_a_failed_disk_is_left_alone_for_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing is refused without touching the disk, and then tried again."""
    clock = Clock()
    home = SpoolDirectory(tmp_path, clock=clock)
    spool = home.open(STREAM)
    fill(spool, 1)
    disk = FailingDisk(monkeypatch, errno.ENOSPC)
    disk.left = 1
    assert not spool.append(seal(1))
    calls = disk.left
    clock.now += 4.9
    assert not spool.append(seal(1))
    assert disk.left == calls
    clock.now += 0.1
    assert spool.append(seal(1))
    assert [seq for seq, _ in spool.load()] == [0, 1]
    assert home.counters.disk_errors == {"ENOSPC": 1}
    home.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    path = tmp_path / "disk"
    path.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.call(command):
        pytest.skip("needs the right to mount a file system")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_full_disk(small_disk: Path) -> None:
    """A disk that is really full stores what fits, and goes on when there is room again."""
    clock = Clock()
    home = SpoolDirectory(small_disk, clock=clock)
    spool = home.open(STREAM)
    refused = next(seq for seq in range(1_000) if not spool.append(seal(seq)))
    assert 100 < refused < 200
    assert list(home.counters.disk_errors) == ["ENOSPC"]
    assert [seq for seq, _ in spool.load()] == list(range(refused))
    spool.release(refused)
    clock.now += 5
    assert spool.append(seal(refused))
    assert [seq for seq, _ in spool.load()] == [refused]
    home.close()


def test_read_only_disk(small_disk: Path) -> None:
    """What was stored before can be read and sent; new datagrams are refused."""
    home = SpoolDirectory(small_disk)
    fill(home.open(STREAM), 3)
    die(home)
    with open(segment_paths(home)[0], "ab") as file:
        file.write(b"torn")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    [spool] = home.adopt()
    assert [seq for seq, _ in spool.load()] == [0, 1, 2]
    assert not spool.append(seal(3))
    spool.release(3)
    home.close()
    assert set(home.counters.disk_errors) == {"EROFS"}


def test_file_size_limit(tmp_path: Path) -> None:
    """RLIMIT_FSIZE is a full disk for one process; half a frame is undone."""
    code = """
        import resource, sys
        sys.path.insert(0, sys.argv[2])
        from test_spool import SpoolDirectory, STREAM, seal
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        home = SpoolDirectory(sys.argv[1])
        spool = home.open(STREAM)
        print(sum(spool.append(seal(seq)) for seq in range(100)), home.counters.disk_errors)
    """
    with run_python(code, str(tmp_path), os.path.dirname(__file__)) as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"{10_000 // FRAME_SIZE} {{'EFBIG': 1}}\n"
    home = SpoolDirectory(tmp_path)
    assert adopted_numbers(home) == list(range(10_000 // FRAME_SIZE))
    assert home.counters.torn_tails == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    """A place where nothing may be made is counted."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    home = SpoolDirectory(tmp_path / "spool")
    assert not home.open(STREAM).append(seal(0))
    assert home.adopt() == []
    assert home.counters.disk_errors == {"EACCES": 2}


# --- against a model ----------------------------------------------------------------------------


class SpoolMachine(RuleBasedStateMachine):
    """Any order of storing, releasing, dying and adopting, held against a list of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.mkdtemp()
        self.clock = Clock()
        self.model: list[int] = []
        self.next_seq = 0
        self.torn = 0
        self._restart()

    def _restart(self) -> None:
        self.home = SpoolDirectory(self.root, max_bytes=12 * FRAME_SIZE, clock=self.clock)
        self.spool: Spool | None = None

    @rule(skip=st.integers(0, 3), size=st.integers(0, 900), n_rec=st.integers(1, 9))
    def store(self, skip: int, size: int, n_rec: int) -> None:
        if self.spool is None:
            self.spool = self.home.open(STREAM) if not self.model else self._adopt()
        self.next_seq += skip
        if self.spool.append(seal(self.next_seq, size=size, n_rec=n_rec)):
            self.model.append(self.next_seq)
        self.next_seq += 1
        self._note_lost()

    def _adopt(self) -> Spool:
        [spool] = self.home.adopt()
        return spool

    def _note_lost(self) -> None:
        assert self.spool is not None
        for seq, cause in self.spool.take_lost():
            assert cause == "spool_full"
            self.model.remove(seq)

    @precondition(lambda self: self.spool is not None)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        assert self.spool is not None
        floor = data.draw(st.integers(0, self.next_seq))
        self.spool.release(floor)
        self.model = [seq for seq in self.model if seq >= floor]

    @precondition(lambda self: self.spool is not None)
    @rule(dies=st.booleans(), torn=st.binary(max_size=60))
    def restart(self, dies: bool, torn: bytes) -> None:
        if dies:
            self.home.abandon()
        else:
            self.home.close()
        if dies and self.model:
            with open(segment_paths(self.home)[-1], "ab") as file:
                file.write(torn)
            self.torn += len(torn)
        self._restart()
        found = self.home.adopt()
        if not found:
            assert not self.model
            return
        self.spool = found[0]
        # after death the settled part of a segment comes back, never the reverse
        numbers = [seq for seq, _ in self.spool.load()]
        assert set(numbers) >= set(self.model)
        self.model = numbers

    @invariant()
    def same_as_the_model(self) -> None:
        if self.spool is None:
            return
        assert [seq for seq, _ in self.spool.load()] == self.model
        assert len(self.spool) == len(self.model)
        on_disk = sum(map(os.path.getsize, segment_paths(self.home))) if self.model else 0
        assert self.spool.size <= self.home.max_bytes
        assert 0 <= on_disk - self.spool.size <= self.torn

    def teardown(self) -> None:
        self.home.abandon()
        shutil.rmtree(self.root)


SpoolMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase
