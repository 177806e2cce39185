"""What remains of the records of a killed process, with and without a spool."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.faults.support import (
    DEADLINE,
    TABLE,
    Receiver,
    Sender,
    check_exactly_once,
    check_receiver,
    copies,
    ids,
    records,
    wait_until,
)


@pytest.fixture
def away() -> tuple[str, int]:
    """An address at which nobody listens yet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1", probe.getsockname()[1]


@pytest.mark.parametrize("seed", range(records(2, 20)))
def test_killed_under_load(tmp_path: Path, seed: int) -> None:
    """What it said was confirmed is delivered; nothing comes twice; the sums hold."""
    with Receiver(tmp_path) as receiver:
        with Sender(
            tmp_path, receiver.address, runs=["dies"], count=10**6, rate=5_000,
            is_told_to_end=True,
        ) as sender:  # fmt: skip
            enough = Random(seed).randrange(100, 3_000)
            wait_until(
                lambda: sender.latest.get("confirmed", 0) > enough, about=lambda: sender.latest
            )
            sender.kill()
            confirmed = sender.latest["confirmed"]
        stats, written = receiver.end(), receiver.written()

    assert copies(written) == 0
    assert len(written) == stats["delivered"] >= confirmed
    # datagrams are confirmed in order: the confirmed ones are the first
    assert ids(["dies"], confirmed) <= set(written)


def test_killed_while_the_receiver_is_away(tmp_path: Path, away: tuple[str, int]) -> None:
    """All that had reached the spool is delivered by another process, once."""
    count = records(3_000, 50_000)
    spool = tmp_path / "spool"
    settings = {"spool_directory": str(spool)}

    with Sender(
        tmp_path, away, runs=["first"], count=count, settings=settings, is_told_to_end=True
    ) as sender:
        wait_until(lambda: sender.latest.get("spooled") == count)
        assert sender.latest["accepted"] == count
        sender.kill()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    assert list(spool.glob("*/*.seg"))

    with Receiver(tmp_path, port=away[1]) as receiver:
        with Sender(
            tmp_path, receiver.address, runs=["second"], count=10, settings=settings
        ) as sender:
            ended = sender.end()
        stats, written = receiver.end(), receiver.written()

    logged = ids(["first"], count) | ids(["second"], 10)
    TABLE.add("sender killed, spool adopted", ended, written, logged)
    check_exactly_once(ended, stats, written, logged)
    assert not list(spool.iterdir())
    assert sum(each["resumed"] for each in stats["streams"].values()) == 1


def test_killed_after_the_receiver_had_some(tmp_path: Path) -> None:
    """The stream goes on where it was: a receiver that knows it takes nothing twice."""
    settings = {"spool_directory": str(tmp_path / "spool")}
    with Receiver(tmp_path) as receiver:
        with Sender(
            tmp_path, receiver.address, runs=["half"], count=4_000, rate=2_000,
            settings=settings, is_told_to_end=True,
        ) as sender:  # fmt: skip
            wait_until(lambda: sender.latest.get("confirmed", 0) > 500)
            receiver.stop()
            wait_until(lambda: is_spooled(sender, 4_000))
            told = sender.latest
            sender.kill()
        receiver.go_on()
        with Sender(
            tmp_path, receiver.address, runs=["heir"], count=10, settings=settings
        ) as heir:
            heir.end()
        stats, written = receiver.end(), receiver.written()

    assert told["spooled"] > 0
    assert set(written) == ids(["half"], 4_000) | ids(["heir"], 10)
    assert copies(written) == 0
    assert len(stats["streams"]) == 2


def is_spooled(sender: Sender, count: int) -> bool:
    """Whether all that is not confirmed is on disk."""
    stats = sender.latest
    return bool(stats["confirmed"] + stats["spooled"] == stats["accepted"] == count)


def test_an_end_while_the_receiver_is_away(tmp_path: Path, away: tuple[str, int]) -> None:
    """A program that ends leaves its records on disk, says nothing of loss, and is continued."""
    settings = {"spool_directory": str(tmp_path / "spool"), "shutdown_timeout": 0.5}
    with Sender(
        tmp_path, away, runs=["ends"], count=1_000, settings=settings, is_flushed=False
    ) as sender:
        ended = sender.end()
    assert ended.total("spooled") == 1_000
    assert not ended.flushed
    assert not ended.stderr

    with Receiver(tmp_path, port=away[1]) as receiver:
        with Sender(
            tmp_path, receiver.address, runs=["next"], count=1,
            settings={**settings, "shutdown_timeout": 20.0},
        ) as sender:  # fmt: skip
            ended = sender.end()
        stats, written = receiver.end(), receiver.written()

    check_exactly_once(ended, stats, written, ids(["ends"], 1_000) | ids(["next"], 1))


def test_a_damaged_spool(tmp_path: Path, away: tuple[str, int]) -> None:
    """A flipped byte costs the datagram that it is in, which is counted; the rest arrives."""
    spool = tmp_path / "spool"
    settings = {"spool_directory": str(spool), "shutdown_timeout": 0.5}
    with Sender(
        tmp_path, away, runs=["torn"], count=1_000, settings=settings, is_flushed=False
    ) as sender:
        sender.end()
    (segment,) = spool.glob("*/*.seg")
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    segment.write_bytes(damaged)

    with Receiver(tmp_path, port=away[1]) as receiver:
        with Sender(
            tmp_path, receiver.address, runs=["heir"], count=1,
            settings={**settings, "shutdown_timeout": 20.0},
        ) as sender:  # fmt: skip
            (stats,) = sender.end().stats
        check_receiver(receiver.end())
        written = receiver.written()

    lost = stats["dropped"]["spool_corrupt"]
    assert 1 <= lost <= 20
    assert stats["accepted"] == 1_001 == stats["confirmed"] + lost
    assert len(written) == 1_001 - lost
    assert copies(written) == 0


def test_a_fork_leaves_the_files_to_the_parent(tmp_path: Path, away: tuple[str, int]) -> None:
    """Parent and child each have their own on disk; nobody's are lost or sent twice."""
    program = """if True:
        import logging, os, sys, time, warnings
        from batchudp_handler import BatchUDPHandler
        from tests.faults.program import digest_of
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
        handler = BatchUDPHandler(
            "127.0.0.1", int(sys.argv[1]), delivery="acknowledged", shutdown_timeout=1.0,
            spool_directory=sys.argv[2],
        )
        log = logging.getLogger("fork")
        log.addHandler(handler)
        def say(run, first, count):
            for number in range(first, first + count):
                log.error("%s %d %s %s", run, number, digest_of("x"), "x")
        say("parent", 0, 300)
        deadline = time.monotonic() + 30
        while handler.stats().spooled < 300 and time.monotonic() < deadline:
            time.sleep(0.01)
        child = os.fork()
        say("parent" if child else "child", 300, 200)
        handler.close()
        assert handler.stats().spooled == (500 if child else 200), handler.stats()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        os._exit(0)
    """
    spool = str(tmp_path / "spool")
    command = [sys.executable, "-c", program, str(away[1]), spool]
    subprocess.run(command, cwd=Path(__file__).parents[2], timeout=DEADLINE, check=True)

    with Receiver(tmp_path, port=away[1]) as receiver:
        settings = {"spool_directory": spool}
        with Sender(
            tmp_path, receiver.address, runs=["heir"], count=1, settings=settings
        ) as sender:
            ended = sender.end()
        stats, written = receiver.end(), receiver.written()

    logged = ids(["parent"], 500) | ids(["child"], 200, 300) | ids(["heir"], 1)
    check_exactly_once(ended, stats, written, logged)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_spool_that_cannot_be_written(tmp_path: Path, away: tuple[str, int]) -> None:
    """Without a disk the records wait in memory, and the errors are counted."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    settings = {"spool_directory": str(closed / "spool")}
    with Sender(
        tmp_path, away, runs=["memory"], count=500, settings=settings, is_told_to_end=True
    ) as sender:
        wait_until(lambda: sender.latest.get("send_errors", {}).get("spool_EACCES"))
        with Receiver(tmp_path, port=away[1]) as receiver:
            ended = sender.end()
            stats, written = receiver.end(), receiver.written()

    check_exactly_once(ended, stats, written, ids(["memory"], 500))


def test_a_spool_that_is_a_file(tmp_path: Path, away: tuple[str, int]) -> None:
    """As with a disk that fails: memory keeps the records until somebody is there."""
    (tmp_path / "spool").write_text("in the way")
    settings = {"spool_directory": str(tmp_path / "spool")}
    with Sender(
        tmp_path, away, runs=["memory"], count=500, settings=settings, is_told_to_end=True
    ) as sender:
        wait_until(lambda: any("spool" in name for name in sender.latest.get("send_errors", ())))
        with Receiver(tmp_path, port=away[1]) as receiver:
            ended = sender.end()
            stats, written = receiver.end(), receiver.written()

    check_exactly_once(ended, stats, written, ids(["memory"], 500))


def test_heirs_share_what_is_left(tmp_path: Path, away: tuple[str, int]) -> None:
    """Several processes that find the same spool take each stream once."""
    settings = {"spool_directory": str(tmp_path / "spool"), "shutdown_timeout": 0.3}
    for number in range(3):
        with Sender(
            tmp_path, away, runs=[f"dead{number}"], count=300, settings=settings, is_flushed=False
        ) as sender:
            sender.end()

    settings["shutdown_timeout"] = 20.0
    with Receiver(tmp_path, port=away[1]) as receiver:
        heirs = [
            Sender(tmp_path, receiver.address, runs=[f"heir{n}"], count=50, settings=settings)
            for n in range(2)
        ]
        try:
            found: Counter[str] = Counter()
            for heir in heirs:
                found.update({"confirmed": heir.end().total("confirmed")})
        finally:
            for heir in heirs:
                heir.__exit__()
        receiver.end()
        written = receiver.written()

    runs = [f"dead{n}" for n in range(3)]
    assert set(written) == ids(runs, 300) | ids(["heir0", "heir1"], 50)
    assert copies(written) == 0
    assert found["confirmed"] == len(written)
