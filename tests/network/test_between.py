"""What stands between two real ends: paths that swallow datagrams, balancers that share them."""

from __future__ import annotations

import contextlib
import itertools
import logging
import select
import socket
import threading
import time
from contextlib import closing

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario
from batchudp_handler.testing.log_receiver import LogReceiver
from tests.support import wait_until

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


# --- two receivers behind one port -------------------------------------------------------------


class Balancer:
    """Deals datagrams out to its targets by turns, and brings the answers back."""

    def __init__(self, *targets: tuple[str, int]) -> None:
        self._front = self._open()
        self._front.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._front.getsockname()
        self._back = [self._open() for _ in targets]
        for each, target in zip(self._back, targets, strict=True):
            each.connect(target)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _open(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        return made

    def _run(self) -> None:
        turns, sender = itertools.cycle(self._back), None
        while not self._is_over:
            for each in select.select([self._front, *self._back], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):  # a receiver that has ended
                    data, source = each.recvfrom(65_536)
                    if each is self._front:
                        sender = source
                        next(turns).send(data)
                    elif sender is not None:
                        self._front.sendto(data, sender)

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        for each in (self._front, *self._back):
            each.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    words = "another receiver gets a share of what is sent here"
    return [text for text in caplog.messages if words in text]


def test_two_receivers_behind_a_balancer_acknowledged(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sender says on stderr what to do, once; the receivers are seen in virtual time."""
    with (
        BatchUDPReceiver("127.0.0.1", 0) as one,
        BatchUDPReceiver("127.0.0.1", 0) as other,
        Balancer(one.address, other.address) as balancer,
        closing(
            BatchUDPHandler(*balancer.address, delivery="acknowledged", shutdown_timeout=0.1)
        ) as handler,
    ):
        log.addHandler(handler)
        words = "two receivers answer at this address in turn"

        def is_said() -> bool:
            log.info("whose?")
            return words in handler.stats().last_error

        wait_until(is_said)
        assert handler.stats().alternations >= 4
    told = [line for line in capsys.readouterr().err.splitlines() if f": {words}" in line]
    assert len(told) == 1
    assert "batchudp-receive --workers" in told[0]


def test_two_receivers_behind_a_balancer_one_way(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody answers the sender; each receiver sees that exactly every second one is missing."""
    with (
        BatchUDPReceiver("127.0.0.1", 0) as one,
        BatchUDPReceiver("127.0.0.1", 0) as other,
        Balancer(one.address, other.address) as balancer,
        closing(BatchUDPHandler(*balancer.address)) as handler,
    ):
        log.addHandler(handler)
        for number in range(100):
            log.info("record %d", number)
            handler.flush()
        wait_until(lambda: len(warnings(caplog)) >= 2)
