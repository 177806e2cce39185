"""What stands between two real ends: paths that swallow datagrams, balancers that share them."""

from __future__ import annotations

import logging
import time
from contextlib import closing

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario
from batchudp_handler.testing.log_receiver import LogReceiver

PATIENCE = 60.0
RECORDS = 200


@pytest.fixture
def log() -> logging.Logger:
    """A logger of this test alone."""
    return logging.Logger("between", level=1)


@pytest.mark.parametrize("largest", [900, 400])
def test_a_path_that_swallows_what_is_large(log: logging.Logger, largest: int) -> None:
    """In both directions, without a word: all is confirmed, once, in smaller datagrams."""
    with (
        LogReceiver() as receiver,
        FaultProxy(receiver.address, Scenario.steady(Faults(largest=largest))) as proxy,
        closing(
            BatchUDPHandler(
                *proxy.address, delivery="acknowledged", compress=False, flush_interval=0.05
            )
        ) as handler,
    ):
        log.addHandler(handler)
        for number in range(RECORDS):
            log.info("record %d %s", number, "x" * 100)
        began = time.monotonic()
        assert handler.flush(PATIENCE)

        assert time.monotonic() - began < PATIENCE / 2
        stats = handler.stats()
        assert (stats.confirmed, stats.accepted) == (RECORDS, RECORDS)
        assert stats.max_datagram_size <= largest
        assert {record.args[0] for record in receiver.records} == set(range(RECORDS))  # type: ignore[index]  # a tuple
        assert proxy.counters()["to_receiver"]["too_long"] > 0
