"""Senders that are over after one record all find a place: there are ten times as many of them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.core.receive.admission import source_of
from tests.support import wait_until

if TYPE_CHECKING:
    from batchudp_handler.config import Delivery

SENDERS = 240
PLACES = 24
AT_A_TIME = 8


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_every_sender_finds_a_place(delivery: Delivery) -> None:
    """Each with a handler of its own, closed after its record; none is refused."""
    with BatchUDPReceiver("127.0.0.1", 0, max_streams=PLACES) as receiver:
        host, port = source_of(receiver.address), receiver.address[1]

        def send(number: int) -> int:
            handler = BatchUDPHandler(host, port, delivery=delivery, shutdown_timeout=30.0)
            record = logging.LogRecord("cron", 20, "x.py", 1, "job %d", (number,), None)
            handler.handle(record)
            handler.close()
            stats = handler.stats()
            return stats.sent + stats.confirmed

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            assert sum(pool.map(send, range(SENDERS))) == SENDERS
        wait_until(lambda: receiver.stats().delivered == SENDERS)
        stats = receiver.stats()
    assert stats.streams_seen == SENDERS
    assert "stream_limit" not in stats.refused
    assert stats.refused_records == {}
