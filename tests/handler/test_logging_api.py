"""The handler is a `logging.Handler` like any other: filters, levels, configurations, queues."""

from __future__ import annotations

import copy
import logging
import logging.config
import logging.handlers
import pickle
import queue
import textwrap
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from tests.support import balance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batchudp_handler.testing.collector import DatagramCollector


def test_filters_may_refuse_or_replace(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """A filter that says no stops the record; one that returns a record replaces it."""
    handler = make()
    logger.addHandler(handler)

    def censor(record: logging.LogRecord) -> bool | logging.LogRecord:
        if "secret" in record.getMessage():
            return False
        other = copy.copy(record)
        other.msg, other.args = f"[{record.getMessage()}]", ()
        return other

    handler.addFilter(censor)  # type: ignore[arg-type]  # typeshed knows Python 3.11's filters only
    logger.info("secret")
    logger.info("open")
    assert handler.flush()
    assert collector.wait_for(1) == ["[open]"]
    record = logging.LogRecord("n", 20, "p", 1, "secret", (), None)
    assert handler.handle(record) is False
    assert handler.stats().accepted == 1


def test_a_raising_filter_goes_to_handle_error(
    make: Callable[..., BatchUDPHandler],
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program does not notice; stderr does, as with the standard handlers."""
    handler = make()
    logger.addHandler(handler)

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("broken filter")

    handler.addFilter(fail)
    logger.info("x")
    assert "broken filter" in capsys.readouterr().err


def test_emit_can_be_overridden(collector: DatagramCollector, logger: logging.Logger) -> None:
    """A subclass that changes `emit` is asked, as with any handler."""

    class Loud(BatchUDPHandler):
        def emit(self, record: logging.LogRecord) -> None:
            record = copy.copy(record)
            record.msg = str(record.msg).upper()
            super().emit(record)

    handler = Loud(*collector.address)
    logger.addHandler(handler)
    logger.info("hello")
    assert collector.wait_for(1) == ["HELLO"]
    handler.close()


def test_levels_work_as_everywhere(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """The handler's own level is respected, by number or name."""
    handler = make(level="WARNING")
    logger.addHandler(handler)
    logger.info("quiet")
    logger.warning("loud")
    assert collector.wait_for(1) == ["loud"]
    assert handler.level == logging.WARNING


def test_dict_config_sets_everything(collector: DatagramCollector) -> None:
    """One entry of a dictConfig makes the handler, with numbers as text and host with port."""
    host, port = collector.address
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "udp": {
                    "class": "batchudp_handler.BatchUDPHandler",
                    "host": f"{host}:{port}",
                    "level": "INFO",
                    "batch_size": "50",
                    "flush_level": "CRITICAL",
                    "compress": "false",
                    "static_fields": {"service": "shop"},
                }
            },
            "loggers": {"test.dict": {"handlers": ["udp"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger = logging.getLogger("test.dict")
    handler = logger.handlers[0]
    assert isinstance(handler, BatchUDPHandler)
    assert handler.config.batch_size == 50
    logger.debug("no")
    logger.info("yes")
    assert collector.wait_for(1) == ["yes"]
    assert collector.records[0].service == "shop"  # type: ignore[attr-defined]  # a static field
    handler.close()
    logger.handlers.clear()


def test_dict_config_twice_under_load_loses_nothing(collector: DatagramCollector) -> None:
    """Replacing the configuration while threads log neither hangs nor loses a record."""
    host, port = collector.address
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "udp": {
                "class": "batchudp_handler.BatchUDPHandler",
                "host": host,
                "port": port,
                "overflow": "block",
            }
        },
        "loggers": {"test.twice": {"handlers": ["udp"], "level": "DEBUG", "propagate": False}},
    }
    logging.config.dictConfig(config)
    logger = logging.getLogger("test.twice")
    handlers = [logger.handlers[0]]
    go_on = threading.Event()
    logged = [0] * 4

    def log(worker: int) -> None:
        while not go_on.is_set():
            logger.info("worker %d record %d", worker, logged[worker])
            logged[worker] += 1
            time.sleep(0)

    workers = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        time.sleep(0.05)
        logging.config.dictConfig(config)
        handlers.append(logger.handlers[0])
    go_on.set()
    for worker in workers:
        worker.join(10.0)
        assert not worker.is_alive()
    for handler in handlers:
        assert isinstance(handler, BatchUDPHandler)
        handler.close()
        stats = handler.stats()
        assert stats.accepted == balance(stats)
        assert stats.waiting == 0
    sent = sum(handler.stats().sent for handler in handlers)  # type: ignore[attr-defined]  # see above
    assert len(collector.wait_for(sent)) == sent
    # between the removal of one handler and the addition of the next a record has no handler
    assert sent >= sum(logged) * 0.9
    logger.handlers.clear()


def test_file_config_passes_arguments(collector: DatagramCollector, tmp_path: Path) -> None:
    """`args` and `kwargs` of a fileConfig section reach the constructor."""
    path = tmp_path / "logging.ini"
    path.write_text(
        textwrap.dedent(f"""\
        [loggers]
        keys = root, ini
        [handlers]
        keys = udp
        [formatters]
        keys =
        [logger_root]
        handlers =
        [logger_ini]
        handlers = udp
        qualname = test.ini
        propagate = 0
        level = INFO
        [handler_udp]
        class = batchudp_handler.BatchUDPHandler
        args = {collector.address!r}
        kwargs = {{"batch_size": 3, "flush_level": None}}
        """)
    )
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logging.config.fileConfig(path, disable_existing_loggers=False)
    root.handlers[:], root.level = before
    logger = logging.getLogger("test.ini")
    handler = logger.handlers[0]
    assert isinstance(handler, BatchUDPHandler)
    assert (handler.config.batch_size, handler.config.flush_level) == (3, None)
    logger.info("from ini")
    assert collector.wait_for(1) == ["from ini"]
    handler.close()
    logger.handlers.clear()


def test_it_works_behind_a_queue(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """QueueHandler and QueueListener in front change nothing of what arrives."""
    handler = make()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, handler, respect_handler_level=True)
    listener.start()
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception("failed %d", 1)
    logger.info("done")
    listener.stop()
    assert handler.flush()
    collector.wait_for(2)
    assert collector.messages[-1] == "done"
    assert "ValueError: inner" in str(collector.messages[0]) + str(collector.records[0].exc_text)


@pytest.mark.parametrize("flush_on_close", [True, False])
def test_it_works_behind_a_memory_handler(
    make: Callable[..., BatchUDPHandler],
    logger: logging.Logger,
    collector: DatagramCollector,
    *,
    flush_on_close: bool,
) -> None:
    """Records held by a MemoryHandler arrive when it flushes, even after our own close."""
    handler = make()
    memory = logging.handlers.MemoryHandler(
        1_000, logging.CRITICAL, handler, flushOnClose=flush_on_close
    )
    logger.addHandler(memory)
    for number in range(20):
        logger.info("n %d", number)
    handler.close()
    memory.close()
    if flush_on_close:
        assert collector.wait_for(20) == [f"n {number}" for number in range(20)]
        assert handler.stats().sent == 20
    else:
        assert handler.stats().accepted == 0


def test_it_cannot_be_copied(make: Callable[..., BatchUDPHandler]) -> None:
    """Pickling and copying are refused with a text that says what to do."""
    handler = make()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="Configure logging in each process"):
            duplicate(handler)


def test_its_repr_says_where_it_ships_to() -> None:
    """The form is that of the standard handlers."""
    with closing(BatchUDPHandler("logs.example", 1234, level="INFO")) as handler:
        assert repr(handler) == "<BatchUDPHandler logs.example:1234 (INFO)>"
