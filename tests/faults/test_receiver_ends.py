"""What is lost, and what comes twice, when the receiver dies, ends, or stands still."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario
from tests.faults.support import (
    IS_SOAK,
    TABLE,
    Garbage,
    Receiver,
    Sender,
    check_at_least_once,
    check_exactly_once,
    copies,
    ids,
    records,
    soak_only,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

RATE = 2_000


def log_for(seconds: float) -> int:
    """So many records take so long."""
    return int(RATE * seconds)


@pytest.mark.parametrize(("downtime", "spool"), [(0.0, None), (0.5, None), (0.5, "spool")])
def test_killed_again_and_again(tmp_path: Path, downtime: float, spool: str | None) -> None:
    """Kill -9 under load, with garbage on the port meanwhile: nothing lost, copies bounded."""
    kills, random = records(2 if spool else 3, 10), Random(8)
    settings = {"spool_directory": spool and str(tmp_path / spool)}

    with (
        Receiver(tmp_path) as receiver,
        Sender(
            tmp_path, receiver.address, runs=["kill"], count=None, rate=RATE, settings=settings
        ) as sender,
    ):
        answered = 0
        for _ in range(kills):
            receiver.wait_for_more()
            time.sleep(random.uniform(0.1, 0.6))  # anywhere in its work
            receiver.kill()
            with Garbage(receiver.address, seed=random.randrange(1000)) as garbage:
                time.sleep(downtime)
            answered += garbage.answered
            receiver.start()
        ended = sender.end()
        receiver.end()
        written = receiver.written()

    logged = ids(["kill"], ended.total("accepted"))
    name = f"{kills} kills, down {downtime} s" + (", spool" if spool else "")
    TABLE.add(name, ended, written, logged)
    check_at_least_once(ended, written, logged)
    assert answered > 0 or not downtime


def test_killed_while_nothing_is_acknowledged(tmp_path: Path) -> None:
    """One-way: what was sent meanwhile is gone, nothing comes twice, the sender's sums hold."""
    with (
        Receiver(tmp_path) as receiver,
        Sender(
            tmp_path,
            receiver.address,
            runs=["oneway"],
            count=None,
            rate=RATE,
            settings={"delivery": "one_way"},
        ) as sender,  # fmt: skip
    ):
        receiver.wait_for_more(300)
        receiver.kill()
        receiver.start()
        receiver.wait_for_more(300)
        ended = sender.end()
        receiver.end()
        written = receiver.written()

    assert copies(written) == 0
    count = ended.total("accepted")
    assert set(written) <= ids(["oneway"], count)
    refused = sum(ended.stats[0]["dropped"].values())  # where the new one was slow to start
    assert ended.total("sent") + refused == count >= len(written)


def test_killed_behind_a_bad_network(tmp_path: Path) -> None:
    """The same while a tenth of all datagrams is lost and a tenth overtaken."""
    kills = records(2, 10)
    faults = Faults(delay=0.00025, loss=0.1, reorder=0.1, reorder_delay=0.002, duplicate=0.05)

    with (
        Receiver(tmp_path) as receiver,
        FaultProxy(receiver.address, Scenario.steady(faults, faults, seed=9)) as proxy,
        Sender(tmp_path, proxy.address, runs=["killnet"], count=None, rate=RATE) as sender,
    ):
        for _ in range(kills):
            receiver.wait_for_more(300)
            receiver.kill()
            receiver.start()
        ended = sender.end()
        receiver.end()
        written = receiver.written()

    logged = ids(["killnet"], ended.total("accepted"))
    TABLE.add(f"{kills} kills, loss 10 %", ended, written, logged)
    check_at_least_once(ended, written, logged)


def test_back_within_a_second(tmp_path: Path) -> None:
    """A receiver that was away for less than five seconds gets records a second later."""
    downtime = 3.0
    with (
        Receiver(tmp_path) as receiver,
        Sender(
            tmp_path, receiver.address, runs=["back"], count=log_for(downtime + 2), rate=RATE
        ) as sender,
    ):
        wait_until(receiver.written)
        receiver.kill()
        with Garbage(receiver.address):
            time.sleep(downtime)
        receiver.start()
        began = time.monotonic()
        receiver.wait_for_more()
        recovery = time.monotonic() - began
        ended = sender.end()
        receiver.end()

    check_at_least_once(ended, receiver.written(), ids(["back"], log_for(downtime + 2)))
    # one second, on a machine that does nothing else
    assert recovery < (3.0 if IS_SOAK else 30.0)


def test_ended_properly_again_and_again(tmp_path: Path) -> None:
    """SIGTERM under load: it finishes what it has, and nothing comes twice."""
    times = records(4, 10)

    with (
        Receiver(tmp_path) as receiver,
        Sender(tmp_path, receiver.address, runs=["term"], count=None, rate=RATE) as sender,
    ):
        delivered = 0
        for _ in range(times):
            receiver.wait_for_more(300)
            delivered += receiver.end()["delivered"]
            receiver.start()
        ended = sender.end()
        delivered += receiver.end()["delivered"]
        written = receiver.written()

    logged = ids(["term"], ended.total("accepted"))
    TABLE.add(f"{times} x SIGTERM", ended, written, logged)
    check_at_least_once(ended, written, logged)
    assert copies(written) == 0
    assert delivered == len(logged)


def test_standing_still(tmp_path: Path) -> None:
    """SIGSTOP under load and SIGCONT later: everything once, and no more memory than before."""
    seconds = records(4, 30)
    count = log_for(seconds)

    with (
        Receiver(tmp_path) as receiver,
        Sender(tmp_path, receiver.address, runs=["stop"], count=count, rate=RATE) as sender,
    ):
        wait_until(receiver.written)
        before = receiver.resident_bytes()
        receiver.stop()
        time.sleep(seconds)
        receiver.go_on()
        ended = sender.end()
        grown = receiver.resident_bytes() - before
        stats, written = receiver.end(), receiver.written()

    logged = ids(["stop"], count)
    TABLE.add(f"SIGSTOP for {seconds} s", ended, written, logged)
    check_exactly_once(ended, stats, written, logged)
    assert grown < 64 << 20


@soak_only
def test_away_for_long(tmp_path: Path) -> None:
    """After half a minute the sender asks rarely; it notices the return within twelve seconds."""
    count = log_for(10)
    with (
        Receiver(tmp_path) as receiver,
        Sender(tmp_path, receiver.address, runs=["away"], count=count, rate=RATE) as sender,
    ):
        wait_until(receiver.written)
        receiver.kill()
        with Garbage(receiver.address):
            time.sleep(30.0)
        receiver.start()
        began = time.monotonic()
        receiver.wait_for_more()
        recovery = time.monotonic() - began
        ended = sender.end()
        receiver.end()
        written = receiver.written()

    logged = ids(["away"], count)
    TABLE.add(f"away for 30 s, back after {recovery:.1f} s", ended, written, logged)
    check_at_least_once(ended, written, logged)
    assert recovery < 13.0
