"""Records on their way from a log call to the wire, and the numbers that they leave."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.testing.collector import DatagramCollector
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


NEVER = 1_000_000
"""Records: a batch that does not fill."""


def test_the_first_record_leaves_at_once(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """After a quiet time one record is shipped immediately, whatever the batch size."""
    handler = make(batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    logger.info("hello %s", "world")
    assert collector.wait_for(1) == ["hello world"]
    record = collector.records[0]
    assert (record.name, record.levelname, record.args) == (logger.name, "INFO", ("world",))
    assert handler.stats().flushes["first"] == 1


@pytest.mark.parametrize(
    ("settings", "level", "trigger"),
    [
        ({"batch_size": 5, "flush_interval": 60.0}, logging.INFO, "size"),
        ({"batch_size": NEVER, "flush_interval": 0.2}, logging.INFO, "time"),
        ({"batch_size": NEVER, "flush_interval": 60.0}, logging.ERROR, "level"),
    ],
)
def test_each_trigger_flushes_all_that_waits(
    make: Callable[..., BatchUDPHandler],
    logger: logging.Logger,
    collector: DatagramCollector,
    settings: dict[str, Any],
    level: int,
    trigger: str,
) -> None:
    """Size, time and level each flush by themselves, and are counted under their names."""
    handler = make(**settings)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    for number in range(4):
        logger.info("n %d", number)
    logger.log(level, "last")
    assert collector.wait_for(6)[-1] == "last"
    wait_until(lambda: handler.stats().sent == 6)
    assert handler.stats().flushes == {
        **dict.fromkeys(("first", "size", "time", "level", "flush", "close"), 0),
        "first": 1,
        trigger: 1,
    }
    assert handler.stats().trigger_ratio[trigger] == 0.5


def test_records_wait_for_company(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Below all triggers, records stay together until a flush sends them as one batch."""
    handler = make(batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    wait_until(lambda: handler.stats().sent == 1)
    for number in range(100):
        logger.info("n %d", number)
    assert handler.stats().waiting == 100
    assert handler.flush(60.0)
    assert len(collector.wait_for(101)) == 101
    assert handler.stats().batch_size.count == 2
    assert handler.stats().flushes["flush"] == 1


def test_order_is_kept(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Through any number of flushes and datagrams, records arrive as they were logged."""
    handler = make(max_datagram_size=600, overflow="block")
    logger.addHandler(handler)
    expected = [f"record {number}" for number in range(5_000)]
    for number in range(5_000):
        logger.info("record %d", number)
    assert handler.flush()
    assert collector.wait_for(5_000) == expected


def test_a_record_is_not_changed(make: Callable[..., BatchUDPHandler]) -> None:
    """Handlers that come later see the record as it was."""
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("n", 20, "p", 1, "m %s", ("a",), sys.exc_info())
    before = dict(vars(record))
    make().handle(record)
    assert vars(record) == before


def test_exceptions_are_written_by_the_formatter(
    make: Callable[..., BatchUDPHandler], collector: DatagramCollector
) -> None:
    """A formatter's own way to write tracebacks is used; None restores the plain one."""

    class Short(logging.Formatter):
        def formatException(self, ei: Any) -> str:
            return f"short {ei[1]}"

    handler = make()
    for formatter in (Short(), None):
        handler.setFormatter(formatter)
        try:
            raise ValueError("no")
        except ValueError:
            handler.handle(logging.LogRecord("n", 40, "p", 1, "m", (), sys.exc_info()))
    collector.wait_for(2)
    first, second = (record.exc_text for record in collector.records)
    assert first == "short no"
    assert second is not None
    assert second.startswith("Traceback")


def test_plain_json_is_what_other_tools_read(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """With `encoding="json"` and no compression, each datagram is an array of objects."""
    handler = make(encoding="json", compress=False)
    logger.addHandler(handler)
    logger.warning("disk %s full", "/tmp")
    assert handler.flush()
    collector.wait_for(1)
    (row,) = json.loads(collector.datagrams[0])
    assert row["message"] == "disk /tmp full"
    assert row["levelname"] == "WARNING"


def test_a_unix_socket_is_a_host(logger: logging.Logger, tmp_path: Path) -> None:
    """`unix:///path` ships to a datagram socket of the file system."""
    with DatagramCollector(str(tmp_path / "log.sock")) as collector:
        handler = BatchUDPHandler(collector.address[0])
        logger.addHandler(handler)
        for number in range(1_000):
            logger.info("n %d", number)
        assert handler.flush()
        handler.close()
        assert len(collector.wait_for(1_000)) == 1_000


def test_the_numbers_add_up_under_threads(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Identity S holds to the record when many threads overflow a small buffer."""
    handler = make(capacity=200)
    logger.addHandler(handler)

    def log() -> None:
        for number in range(5_000):
            logger.info("n %d", number)

    workers = [threading.Thread(target=log) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60.0)
    assert handler.flush(60.0)
    stats = handler.stats()
    assert stats.accepted == 40_000 == balance(stats)
    assert len(collector.wait_for(stats.sent)) == stats.sent


def test_stats_are_frozen_and_cheap_to_read(make: Callable[..., BatchUDPHandler]) -> None:
    """They can be read before the first record, and cannot be written."""
    stats = make().stats()
    assert (stats.accepted, stats.waiting, stats.dropped) == (0, 0, {})
    with pytest.raises(AttributeError):
        stats.accepted = 1  # type: ignore[misc]  # that is the test


def test_static_fields_stay_what_they_were(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Neither the mapping that was given nor the one in `config` reaches the wire later."""
    given: dict[str, Any] = {"tags": {"zone": ["b"]}}
    handler = make(static_fields=given)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    given["tags"]["zone"].append("given")
    handler.config.static_fields["tags"]["zone"].append("config")  # type: ignore[index]
    logger.error("second")
    collector.wait_for(2)
    assert [vars(each)["tags"] for each in collector.records] == [{"zone": ["b"]}] * 2
