"""Records that this package itself causes or relays are not sent in circles."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.records.arrival import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.testing.collector import DatagramCollector


def test_records_from_the_socket_code_are_not_shipped(
    make: Callable[..., BatchUDPHandler],
    logger: logging.Logger,
    collector: DatagramCollector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instrumented socket that logs each call does not keep the handler busy with itself."""
    handler = make()
    logger.addHandler(handler)
    transport = type(handler._flusher._get_loop().transport)
    send = transport.send

    def loud_send(self: Any, datagram: bytes) -> None:
        logger.debug("sending %d bytes", len(datagram))
        send(self, datagram)

    monkeypatch.setattr(transport, "send", loud_send)
    logger.info("only this")
    assert handler.flush()
    stats = handler.stats()
    assert stats.dropped["self_log"] >= 1
    assert stats.sent == 1
    assert collector.wait_for(1) == ["only this"]


def test_relayed_records_are_shipped_on_purpose_only(
    logger: logging.Logger, collector: DatagramCollector
) -> None:
    """A record that came over the network is shipped again with `relay`, up to four times."""
    for relay, hops, is_shipped in ((False, 1, False), (True, 1, True), (True, 5, False)):
        handler = BatchUDPHandler(*collector.address, relay=relay)
        record = logging.LogRecord("n", 20, "p", 1, "m", (), None)
        record.batchudp = Arrival(hops=hops)
        handler.handle(record)
        handler.close()
        stats = handler.stats()
        assert (stats.sent, stats.dropped) == ((1, {}) if is_shipped else (0, {"relay": 1}))


@pytest.mark.parametrize(
    ("relay", "hops", "advice"), [(False, 1, "set relay=True"), (True, 5, "send to each other")]
)
def test_a_relayed_record_that_is_dropped_is_said_once(
    relay: bool,
    hops: int,
    advice: str,
    collector: DatagramCollector,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one of a handler is said on stderr, with what to do."""
    monkeypatch.setattr(logging, "raiseExceptions", True)
    record = logging.makeLogRecord({"msg": "m", "batchudp": Arrival(hops=hops)})
    for is_wanted in (True, False):
        monkeypatch.setattr(logging, "raiseExceptions", is_wanted)
        with closing(BatchUDPHandler(*collector.address, relay=relay)) as handler:
            for _ in range(3):
                handler.handle(record)
            assert handler.stats().dropped == {"relay": 3}
        said = capsys.readouterr().err
        assert said.count("\n") == is_wanted
        assert (advice in said) == is_wanted


def test_a_process_pool_that_cannot_be_told_costs_no_record(
    collector: DatagramCollector, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What raises when the first record asks for a drain is counted, and the record leaves."""

    def fail() -> bool:
        raise LookupError("a pool that is half imported")

    monkeypatch.setattr("batchudp_handler.fork.is_worker_process", fail)
    with closing(BatchUDPHandler(*collector.address)) as handler:
        logger.addHandler(handler)
        logger.info("first")
        assert handler.flush()
        assert handler.stats().send_errors == {"internal_LookupError": 1}
    assert collector.wait_for(1) == ["first"]
