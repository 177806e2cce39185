"""A user's program that passes strict type checkers; mypy and pyright read it, it does not run."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_type

import batchudp_handler
from batchudp_handler import (
    BatchUDPError,
    BatchUDPHandler,
    BatchUDPReceiver,
    HandlerConfig,
    ReceiverConfig,
    ReceiverStats,
    SenderStats,
    drain_on_sigterm,
)
from batchudp_handler.engines import forwarder

if TYPE_CHECKING:
    from batchudp_handler.testing import LogReceiver


def ship() -> bool:
    """A handler with settings of every kind."""
    handler = BatchUDPHandler(
        "logs.example",
        "9999",
        level="INFO",
        batch_size=100,
        flush_interval=1.0,
        flush_level=logging.ERROR,
        overflow="drop_oldest",
        max_datagram_size=None,
        delivery="acknowledged",
        static_fields={"service": "shop", "zone": 3},
        resolve_interval=None,
    )
    log = logging.getLogger("shop")
    log.addHandler(handler)
    log.info("order %s paid", "A-17", extra={"basket": 3})
    stats = handler.stats()
    assert_type(stats, SenderStats)
    assert_type(stats.accepted, int)
    assert_type(stats.dropped, Mapping[str, int])
    assert_type(stats.rtt, "float | None")
    return handler.flush(2.0)


def configure() -> None:
    """A handler by its name, as `dictConfig` takes it."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"ship": {"class": "batchudp_handler.BatchUDPHandler", "host": "logs"}},
            "root": {"level": "INFO", "handlers": ["ship"]},
        }
    )
    drain_on_sigterm()


def from_environment(environment: dict[str, str]) -> BatchUDPHandler:
    """A handler from settings that somebody else made."""
    try:
        config = HandlerConfig.from_env(environment)
    except BatchUDPError as error:
        raise SystemExit(str(error)) from error
    assert_type(config, HandlerConfig)
    return BatchUDPHandler.from_config(config)


def receive() -> int:
    """A receiver in the background, and one in this thread."""
    with BatchUDPReceiver("127.0.0.1", 0, allow=("10.0.0.0/8",)) as receiver:
        assert_type(receiver, BatchUDPReceiver)
        host, port = receiver.address[:2]
        logging.getLogger("shop").info("at %s:%s", host, port)
    stats = receiver.stats()
    assert_type(stats, ReceiverStats)
    for name, stream in stats.streams.items():
        assert_type(name, str)
        assert_type(stream.lost, int)
    return stats.delivered


def receive_here() -> None:
    """The way of `socketserver`."""
    receiver = BatchUDPReceiver.from_config(ReceiverConfig(host="127.0.0.1", port=0))
    receiver.serve_forever()
    receiver.shutdown()


def forward() -> None:
    """A stateless edge."""
    edge = BatchUDPReceiver("127.0.0.1", 0, new_worker=forwarder("nats://n1/LOGS"))
    edge.serve_forever()


def test_shop(log_receiver: LogReceiver) -> None:
    """A test of a program that ships its records."""
    handler = log_receiver.handler(logger="shop", batch_size=1)
    assert_type(handler, BatchUDPHandler)
    logging.getLogger("shop").warning("%d left", 3)
    assert_type(log_receiver.records, list[logging.LogRecord])
    assert log_receiver.has_record(level="WARNING", match="3 left", logger="shop", timeout=5.0)


class Counting(BatchUDPHandler):
    """A handler of one's own."""

    handled = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Count, and ship."""
        self.handled += 1
        return bool(super().handle(record))


version: str = batchudp_handler.__version__
