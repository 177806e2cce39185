"""What is not ours in and around a spool stays as it is: files, links, devices and descriptors."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.core.wire.spool_frame import is_own_beginning
from batchudp_handler.spool import SpoolDirectory
from tests.spool.support import NAME, STREAM, die, fill, run_python, seal
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.spool import Spool

SEGMENT = f"{0:020d}-0.seg"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        directory = os.open(path.parent, os.O_RDONLY)
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def make_unreadable(path: Path) -> None:
    path.write_bytes(b"precious")
    path.chmod(0)


STRANGE: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "directory": lambda path: path.mkdir(mode=0o700),
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "socket": make_socket,
    "other content": lambda path: path.write_bytes(b"precious"),
    "random content": lambda path: path.write_bytes(b"\xff" + os.urandom(300_000)),
    "a datagram of another stream": lambda path: path.write_bytes(
        bytes(8) + seal(0, stream=STREAM + 1)
    ),
    "huge": make_huge,
    "unreadable": make_unreadable,
}


def look_of(path: Path) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_mode, status.st_ino, status.st_size


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("place", ["segment", "lock", "stream"])
def test_what_is_not_ours_is_left_alone(home: SpoolDirectory, kind: str, place: str) -> None:
    """It is counted once, holds nothing up, is not deleted, and keeps no other stream back."""
    fill(home.open(STREAM + 1), 3)
    fill(home.open(STREAM), 3)
    die(home)
    if (place, kind) == ("stream", "directory"):
        pytest.skip("a directory of that name is ours")
    folder = Path(home.path) / NAME
    strange = {"segment": folder / SEGMENT, "lock": folder / "lock", "stream": folder}[place]
    if place == "stream":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    else:
        strange.unlink()
    STRANGE[kind](strange)
    before = look_of(strange)
    others = [spool.stream_id for spool in home.adopt() if spool.stream_id != STREAM]
    assert others == [STREAM + 1]
    for _ in range(3):
        home.adopt()
    if place == "segment" or not stat.S_ISREG(before[0]):
        assert look_of(strange) == before
    assert sum(home.counters.disk_errors.values()) <= 1
    assert home.counters.dropped == {}


def test_a_link_to_a_program_s_own_file_is_no_segment(
    home: SpoolDirectory, tmp_path: Path
) -> None:
    """A second name of a file, which no look at the directory can tell from one of ours."""
    fill(home.open(STREAM), 3)
    die(home)
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious" * 1000)
    os.link(precious, Path(home.path) / NAME / f"{7:020d}-0.seg")
    [spool] = home.adopt()
    spool.release(3)
    home.close()
    assert precious.read_bytes() == b"precious" * 1000
    assert precious.stat().st_nlink == 2


def test_what_a_dying_writer_leaves_is_ours(home: SpoolDirectory) -> None:
    """Any beginning of a frame, nothing, and zeros are tidied away."""
    frame = (len(seal(0))).to_bytes(4, "big") + b"abcd" + seal(0)
    for data in (*(frame[:size] for size in range(len(frame))), bytes(4096)):
        assert is_own_beginning(data, STREAM), len(data)
    for data in (b"x", b"precious", frame[:8] + b"{", b"\0\0\0\1" + b"abcd" + b"[1, 2]"):
        assert not is_own_beginning(data, STREAM), data
    assert not is_own_beginning(frame, STREAM + 1)


# --- descriptors --------------------------------------------------------------------------------


@pytest.fixture
def ours() -> Iterator[list[int]]:
    """The numbers that a test opened; closed at the end, so that none is lost."""
    numbers: list[int] = []
    yield numbers
    for number in numbers:
        os.close(number)


def take_descriptors(before: set[int], tmp_path: Path, ours: list[int]) -> list[Path]:
    """Close all that were opened since, and put files of the program in their place."""
    victims = []
    for number in sorted(_open_now() - before):
        victim = tmp_path / f"victim{number}"
        victim.write_bytes(b"precious" * 100)
        opened = os.open(victim, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
        victims.append(victim)
        ours.append(number)
    assert len(victims) == 3
    return victims


def _open_now() -> set[int]:
    found = set()
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.add(number)
    return found


USES: dict[str, Callable[[SpoolDirectory, Spool], object]] = {
    "store": lambda home, spool: fill(spool, 2, first=5),
    "store a segment": lambda home, spool: [
        spool.append(seal(seq, size=60_000)) for seq in range(5, 30)
    ],
    "read": lambda home, spool: list(spool.load()),
    "check": lambda home, spool: spool.check(),
    "release": lambda home, spool: spool.release(3),
    "release all": lambda home, spool: spool.release(99),
    "drop": lambda home, spool: spool.drop_oldest("spool_full"),
    "stamp": lambda home, spool: spool.stamp(),
    "look": lambda home, spool: home.adopt(),
    "close": lambda home, spool: home.close(),
    "abandon": lambda home, spool: home.abandon(),
}


@pytest.mark.parametrize("use", USES)
def test_files_under_our_numbers_are_not_touched(
    home: SpoolDirectory, tmp_path: Path, ours: list[int], use: str
) -> None:
    """Neither read nor written, cut, locked or closed, whatever is done next; nothing is lost."""
    before = _open_now()
    spool = home.open(STREAM)
    fill(spool, 5)
    victims = take_descriptors(before, tmp_path, ours)
    USES[use](home, spool)
    if use not in {"release all", "drop", "close", "abandon"}:
        assert next(iter(spool.load(after=3))) == (4, seal(4))
        fill(spool, 1, first=40)
        # the lock was let go when it was closed; now it is ours again
        assert SpoolDirectory(home.path).adopt() == []
        assert home.counters.dropped == {}
    home.close()
    for number, victim in zip(ours, victims, strict=True):
        assert victim.read_bytes() == b"precious" * 100
        assert os.fstat(number).st_ino == victim.stat().st_ino
        assert os.lseek(number, 0, os.SEEK_CUR) == 0


def test_a_stream_that_another_process_took_meanwhile_is_left_to_it(
    home: SpoolDirectory, tmp_path: Path, ours: list[int]
) -> None:
    """Without its descriptors the lock is gone: whoever has the stream by then, sends it."""
    before = _open_now()
    spool = home.open(STREAM)
    fill(spool, 5)
    take_descriptors(before, tmp_path, ours)
    other = SpoolDirectory(home.path)
    [taken] = other.adopt()
    spool.check()
    assert (len(spool), spool.was_removed) == (0, True)
    assert [cause for _, cause in spool.take_lost()] == ["spool_removed"] * 5
    assert [seq for seq, _ in taken.load()] == [0, 1, 2, 3, 4]
    other.close()


# --- few descriptors ----------------------------------------------------------------------------

HEIR = """
import logging, os, resource, sys, time
from batchudp_handler import BatchUDPHandler

handler = BatchUDPHandler(
    "127.0.0.1", int(sys.argv[1]), delivery="acknowledged", spool_directory=sys.argv[2],
    shutdown_timeout=90,
)
log = logging.getLogger("heir")
log.propagate = False
log.addHandler(handler)
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
log.warning("heir")
handler.close()
stats = handler.stats()
print(stats.accepted, stats.confirmed, stats.dropped, stats.send_errors)
"""


class Kept(logging.Handler):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.messages.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Where records of the receiver end."""
    handler = Kept()
    logger = logging.getLogger("heir")
    logger.propagate = False
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


ORPHANS = """
import os, sys
sys.path.insert(0, sys.argv[2])
from batchudp_handler.spool import SpoolDirectory
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.wire.datagram import CHECKSUM
from batchudp_handler.core.records.snapshot import capture
import logging

home = SpoolDirectory(sys.argv[1])
for number in range(int(sys.argv[3])):
    sender = make_delivery(
        SenderSettings(
            header=BatchHeader("host", {}), acknowledged=True, storage=StoragePolicy.ALWAYS
        ),
        stream_id=number + 1, random=lambda: 0.5,
    )
    record = logging.LogRecord("heir", 40, "f", 1, "orphan %d", (number,), None)
    sender.send_batch([capture(record, str, True)], 0.0, 1.7e9)
    spool = home.open(number + 1)
    for each in sender.datagrams_to_store(0.0):
        assert spool.append(each.data)
    spool.close()
"""


def leave_orphans(spool: Path, number: int) -> None:
    root = str(Path(__file__).parents[2])
    with run_python(ORPHANS, str(spool), root, str(number)) as process:
        assert process.wait(120) == 0
    assert len(list(spool.iterdir())) == number


def start_heir(port: int, spool: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(HEIR), str(port), str(spool)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_many_orphans_are_sent_with_few_descriptors(tmp_path: Path, kept: Kept) -> None:
    """A few at a time, all in one life, each record once."""
    spool = tmp_path / "spool"
    leave_orphans(spool, 300)
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        heir = start_heir(receiver.address[1], spool)
        out, err = heir.communicate(timeout=120)
        wait_until(lambda: len(kept.messages) >= 301)
    assert (out, err) == ("301 301 {} {}\n", "")
    assert sorted(kept.messages) == sorted(["heir", *(f"orphan {n}" for n in range(300))])
    assert list(spool.iterdir()) == []


@pytest.mark.slow
def test_several_heirs_share_and_one_is_killed(tmp_path: Path, kept: Kept) -> None:
    """Nothing is lost or comes twice, and nobody waits for another."""
    spool = tmp_path / "spool"
    leave_orphans(spool, 200)
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        heirs = [start_heir(receiver.address[1], spool) for _ in range(3)]
        wait_until(lambda: len(kept.messages) > 20)
        heirs[0].kill()
        for heir in heirs:
            _, err = heir.communicate(timeout=120)
            assert err == ""
        last = start_heir(receiver.address[1], spool)  # for what the killed one had in its hands
        assert last.communicate(timeout=120)[1] == ""
        wait_until(lambda: len({*kept.messages}) >= 201)
    orphans = [message for message in kept.messages if message != "heir"]
    assert sorted(orphans) == sorted(f"orphan {n}" for n in range(200))
    assert list(spool.iterdir()) == []
