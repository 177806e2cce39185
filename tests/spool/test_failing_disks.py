"""A disk that fails or is full costs no datagram that memory still has."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.core.send.spool_limits import SpoolLimits
from batchudp_handler.spool import SpoolDirectory
from tests.spool.support import (
    FRAME_SIZE,
    STREAM,
    Clock,
    adopted_numbers,
    die,
    fill,
    run_python,
    seal,
    segment_paths,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
        home = SpoolDirectory(
            tmp_path / f"{nth}", limits=SpoolLimits(max_bytes=16 * FRAME_SIZE), clock=clock
        )
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
