"""Everything arrives once, whatever the network does.

Sender and receiver are processes of their own; the proxy between them runs here. The scenarios
are those of the simulator, so that what holds in virtual time is seen to hold in real time.
"""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario
from tests.faults.support import (
    DEADLINE,
    IS_SOAK,
    TABLE,
    Receiver,
    Sender,
    check_exactly_once,
    ids,
    records,
    soak_only,
    wait_until,
)
from tests.simulator.case import load_cases

if TYPE_CHECKING:
    from tests.faults.support import Ended, Stats

CASES = load_cases(Path(__file__).parent.parent / "scenarios")
BRIEF = ("f01 loss 30 %", "f03 reorder 10 %", "f04 30 % twice", "f07 cut short 5 %")
HERE_TOO = [
    name
    for name, case in CASES.items()
    if case.delivery == "acknowledged"
    and not case.restarts
    and not case.path_limit
    and not (case.handler_time or case.stall_time or case.reject_every)
    and case.max_time <= 100
]
SLACK = 1.25 if IS_SOAK else 2.5
"""A machine with much else to do makes answers late, and then more is sent again."""
BAD = Faults(delay=0.00025, loss=0.3, reorder=0.1, reorder_delay=0.002, duplicate=0.05, flip=0.01)


def exchange(
    folder: Path, scenario: Scenario, name: str, count: int, **plan: Any
) -> tuple[Ended, Stats, dict[str, dict[str, int]]]:
    """Move records through a network, and insist on exactly once."""
    with Receiver(folder) as receiver, FaultProxy(receiver.address, scenario) as proxy:
        runs = plan.pop("runs", ["net"])
        with Sender(folder, proxy.address, runs=runs, count=count, **plan) as sender:
            ended = sender.end()
        counters, stats, written = proxy.counters(), receiver.end(), receiver.written()
    logged = ids(sender.plan.runs, count)
    TABLE.add(name, ended, written, logged)
    check_exactly_once(ended, stats, written, logged)
    return ended, stats, counters


def test_a_bad_network(tmp_path: Path) -> None:
    """Loss of 30 % each way, reordering, copies and flipped bits: everything arrives once."""
    count = records(5_000, 100_000)
    scenario = Scenario.steady(BAD, BAD, seed=4)

    ended, stats, counters = exchange(tmp_path, scenario, "loss 30 %, all faults", count)

    assert ended.transmissions < 1.15 / (1 - 0.3) * SLACK
    assert stats["duplicate_datagrams"] > 0
    there = counters["to_receiver"]
    assert there["lost"] > 0 < there["duplicated"]
    assert stats["refused"]["bad_crc"] >= there["flipped"] * 0.9


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_bursts(tmp_path: Path, share: float) -> None:
    """What is lost is lost in stretches of eight datagrams."""
    burst = Faults(delay=0.00025, burst_end=1 / 8, burst_start=share / (1 - share) / 8)

    exchange(
        tmp_path,
        Scenario.steady(burst, burst, seed=5),
        f"bursts of 8, {share:.0%}",
        records(300, 20_000),
    )


@pytest.mark.parametrize(("direction", "seconds"), [("to_sender", 5.0), ("to_receiver", 3.0)])
def test_one_direction(tmp_path: Path, direction: str, seconds: float) -> None:
    """Nothing goes one way for seconds; then everything is told, and once."""
    with Receiver(tmp_path) as receiver, FaultProxy(receiver.address) as proxy:
        with Sender(
            tmp_path, proxy.address, runs=["net"], count=None, rate=2_000, is_told_to_end=True
        ) as sender:
            wait_until(lambda: sender.latest.get("confirmed"))
            silence = Faults(blackhole=True)
            if direction == "to_sender":
                proxy.change(to_sender=silence)
            else:
                proxy.change(to_receiver=silence)
            time.sleep(seconds)
            proxy.change()
            ended = sender.end()
        counters, stats, written = proxy.counters(), receiver.end(), receiver.written()

    logged = ids(["net"], ended.total("accepted"))
    name = f"nothing {direction.replace('_', ' ')}, {seconds:.0f} s"
    TABLE.add(name, ended, written, logged)
    check_exactly_once(ended, stats, written, logged)
    assert counters[direction]["blackholed"] > 0
    assert ended.seconds > seconds
    assert ended.transmissions < 2.0 * SLACK


def test_another_source_port_twice_a_second(tmp_path: Path) -> None:
    """A router that forgets where the sender was costs a handshake, and no record."""
    scenario = Scenario.steady(rebind_interval=0.5, seed=7)

    _, stats, counters = exchange(
        tmp_path, scenario, "source port changes", records(3_000, 60_000), rate=1_500
    )

    assert counters["proxy"]["rebinds"] >= 3
    (stream,) = stats["streams"].values()
    assert 0 < stream["address_changes"] <= counters["proxy"]["rebinds"]


@pytest.mark.parametrize("name", [name for name in HERE_TOO if IS_SOAK or name in BRIEF])
def test_a_scenario_of_the_simulator(tmp_path: Path, name: str) -> None:
    """The same network as in virtual time, with the same promises, in three times the time."""
    case = CASES[name] if IS_SOAK else replace(CASES[name], records=2_000)
    runs = [f"s{number}" for number in range(case.senders)]

    ended, _, _ = exchange(
        tmp_path,
        case.network,
        name,
        case.records,
        runs=runs,
        rate=case.rate,
        size=min(case.record_size, 16_000),
        settings={"max_datagram_size": case.max_datagram_size},
    )

    if IS_SOAK:
        assert ended.seconds <= 3 * max(case.max_time, 10.0)
    if case.max_transmissions:
        # the proxy's and the processes' turns on the processor are part of each round trip
        assert ended.transmissions <= case.max_transmissions * SLACK


def test_large_records_in_fragments(tmp_path: Path) -> None:
    """Records of many datagrams survive the loss of any of them, beside small ones."""
    faults = Faults(delay=0.00025, loss=0.3, reorder=0.2, reorder_delay=0.002, duplicate=0.05)

    ended, stats, _ = exchange(
        tmp_path,
        Scenario.steady(faults, faults, seed=8),
        "fragments, loss 30 %",
        records(60, 3_000),
        size=20_000,
        settings={"max_datagram_size": 1_200, "compress": False},
    )

    assert ended.total("fragmented") > ended.total("accepted") * 0.9
    assert stats["reassembly_bytes"] == 0


@soak_only
def test_throughput_beside_one_way(tmp_path: Path) -> None:
    """Without loss, acknowledged delivery is at least 0.8 times as fast as one-way."""
    seconds = {"one_way": 0.0, "acknowledged": 0.0}
    for turn in range(3):
        for delivery in seconds:
            folder = tmp_path / f"{delivery}{turn}"
            folder.mkdir()
            seconds[delivery] += _seconds_without_loss(folder, delivery)
    TABLE.rows.append(
        ("one-way / acknowledged", *(f"{each:.2f} s" for each in seconds.values()), *"----")
    )
    assert seconds["one_way"] / seconds["acknowledged"] >= 0.8


def _seconds_without_loss(folder: Path, delivery: str) -> float:
    with Receiver(folder) as receiver:
        settings = {"delivery": delivery, "capacity": 2_000}
        with Sender(
            folder, receiver.address, runs=["fast"], count=60_000, settings=settings
        ) as sender:
            return sender.end().seconds


def test_a_smaller_path_with_a_key(tmp_path: Path) -> None:
    """Datagrams that have become too large are opened with the own key, and cut smaller."""
    keys = tmp_path / "keys"
    keys.write_text("1 hmac-sha256 " + b64encode(bytes(range(32))).decode())
    keys.chmod(0o600)
    with BatchUDPReceiver("127.0.0.1", 0, key_file=[str(keys)]) as receiver:
        with FaultProxy(receiver.address[:2]) as proxy:
            handler = BatchUDPHandler(
                *proxy.address, delivery="acknowledged", key_file=str(keys), compress=False,
                max_datagram_size=9_000, shutdown_timeout=30.0,
            )  # fmt: skip
            log = logging.getLogger("key")
            log.propagate = False
            log.handlers = [handler]
            log.error("hello")
            assert handler.flush(DEADLINE)
            proxy.change(Faults(blackhole=True), Faults(blackhole=True))
            for number in range(50):
                log.error("%d %s", number, "x" * 2_000)
            wait_until(lambda: handler.stats().retained)
            handler.reconfigure(max_datagram_size=1_200)
            proxy.change()
            handler.close()
        stats, there = handler.stats(), receiver.stats()

    assert stats.send_errors == {}
    assert stats.confirmed == 51
    # a datagram may have arrived large before it is cut
    assert 51 <= there.delivered <= 51 + stats.resealed
