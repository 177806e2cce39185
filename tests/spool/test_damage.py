"""A damaged, deleted or replaced file of the spool costs what it held, and no other datagram."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.spool import SpoolDirectory
from tests.spool.support import (
    FRAME_SIZE,
    NAME,
    STREAM,
    adopted_numbers,
    die,
    fill,
    seal,
    segment_paths,
)

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 100_000 // FRAME_SIZE


@pytest.fixture
def full_spool(tmp_path: Path) -> Path:
    """100 KB in one segment, as a dead process left them."""
    home = SpoolDirectory(tmp_path / "original")
    fill(home.open(STREAM), FRAMES)
    die(home)
    return tmp_path / "original" / NAME / f"{0:020d}-0.seg"


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
