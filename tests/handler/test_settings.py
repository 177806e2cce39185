"""The settings of a handler: refused, taken from a configuration, and changed while it works."""

from __future__ import annotations

import gc
import logging
import logging.config
import logging.handlers
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler, HandlerConfig
from batchudp_handler.testing.collector import DatagramCollector
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


NEVER = 1_000_000
"""Records: a batch that does not fill."""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 0}, "port"),
        ({"port": "nine"}, "port"),
        ({"batch_size": 0}, "batch_size"),
        ({"flush_interval": -1}, "flush_interval"),
        ({"overflow": "explode"}, "'drop_oldest' or 'drop_newest' or 'block'"),
        ({"max_datagram_size": 70_000}, "65507"),
        ({"delivery": "pigeon"}, "acknowledged"),
        ({"host": "two words"}, "host"),
        ({"static_fields": {"x": object()}}, "static_fields"),
        ({"key_file": "/nowhere/key"}, "key file"),
    ],
)
def test_bad_values_are_refused(settings: dict[str, Any], words: str) -> None:
    """A ValueError says what is allowed, and `logging` has never heard of the handler."""
    gc.collect()  # an earlier test's handler must not go away in between
    known = len(logging._handlerList)  # type: ignore[attr-defined]  # what `logging.shutdown` closes
    with pytest.raises(ValueError, match=words):
        BatchUDPHandler(**settings)
    assert len(logging._handlerList) == known  # type: ignore[attr-defined]  # see above


def test_unknown_settings_are_a_type_error() -> None:
    """As with any function; `reconfigure` says the same."""
    with pytest.raises(TypeError, match="colour"):
        BatchUDPHandler(colour="red")  # type: ignore[call-arg]  # that is the test
    with closing(BatchUDPHandler()) as handler, pytest.raises(TypeError, match="colour"):
        handler.reconfigure(colour="red")


def test_defaults_are_those_of_the_settings_table() -> None:
    """The constructor and `HandlerConfig` agree about every default."""
    with closing(BatchUDPHandler()) as handler:
        assert handler.config == HandlerConfig()


def test_a_config_makes_a_handler(collector: DatagramCollector) -> None:
    """`from_config` takes what the environment or a file gave."""
    host, port = collector.address
    config = HandlerConfig.from_env({"TARGET_HOST": host, "BATCHUDP_TARGET_PORT": str(port)})
    with closing(BatchUDPHandler.from_config(config)) as handler:
        assert handler.config == config


def test_the_settings_change_while_records_flow(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """`reconfigure` under load loses no record, repeats none, and takes effect."""
    handler = make(overflow="block", batch_size=1)
    logger.addHandler(handler)
    is_over = threading.Event()
    logged = [0] * 4

    def log(worker: int) -> None:
        while not is_over.is_set():
            logger.info("%d/%d", worker, logged[worker])
            logged[worker] += 1
            time.sleep(0)

    workers = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for size in (1, 10, 500, 50):
        handler.reconfigure(
            batch_size=size,
            capacity=size * 20,
            flush_interval=0.1 * size,
            max_datagram_size=600 + size,
            compress=size % 20 == 0,
            max_retries=size,
        )
        time.sleep(0.03)
    is_over.set()
    for worker in workers:
        worker.join(10.0)
    assert handler.flush(60.0)
    assert handler.config.batch_size == 50
    messages = collector.wait_for(sum(logged))
    expected = {f"{worker}/{n}" for worker in range(4) for n in range(logged[worker])}
    assert len(messages) == len(expected)
    assert set(messages) == expected
    assert max(len(datagram) for datagram in collector.datagrams) <= 1_100


def test_a_new_target_gets_the_rest(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """After `reconfigure(host=..., port=...)` records go to the other receiver."""
    handler = make()
    logger.addHandler(handler)
    logger.info("here")
    assert handler.flush()
    with DatagramCollector() as other:
        handler.reconfigure(host=other.address[0], port=other.address[1], level="WARNING")
        logger.info("below the level")
        logger.warning("there")
        assert handler.flush()
        assert other.wait_for(1) == ["there"]
    assert collector.messages == ["here"]


@pytest.mark.parametrize(
    "changes", [{"batch_size": 0}, {"batch_size": 7, "delivery": "acknowledged"}]
)
def test_a_refused_change_changes_nothing(
    make: Callable[..., BatchUDPHandler], changes: dict[str, Any]
) -> None:
    """All of a `reconfigure` is used, or none."""
    handler = make()
    before = handler.config
    with pytest.raises(ValueError, match=r"batch_size|delivery"):
        handler.reconfigure(**changes)
    assert handler.config == before


def test_a_change_says_whether_it_is_in_use(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """True before the first record and while the thread runs; False while the thread is busy."""
    handler = make()
    assert handler.reconfigure(batch_size=20)
    logger.addHandler(handler)
    logger.info("starts the thread")
    assert handler.flush()
    assert handler.reconfigure(batch_size=30)
    is_busy, may_go_on = threading.Event(), threading.Event()

    def busy(*_: object, **__: object) -> None:
        is_busy.set()
        may_go_on.wait(60.0)

    monkeypatch.setattr("batchudp_handler.flusher.thread.CHANGE_PATIENCE", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(handler._flusher._loop, "turn", busy)
        logger.error("wakes the thread")
        assert is_busy.wait(60.0)
        assert handler.reconfigure(batch_size=40) is False
        assert handler.config.batch_size == 40
    may_go_on.set()
    wait_until(lambda: handler._flusher.settings.session.taking.batch_size == 40)


def test_the_config_knows_the_level(make: Callable[..., BatchUDPHandler]) -> None:
    """However the level was set; and a later change of something else leaves it alone."""
    handler = make(level="INFO")
    handler.setLevel("ERROR")
    assert handler.config.level == logging.ERROR
    handler.level = logging.DEBUG
    assert handler.config.level == logging.DEBUG
    handler.reconfigure(batch_size=20)
    assert (handler.level, handler.config.level) == (logging.DEBUG, logging.DEBUG)
    handler.reconfigure(level="WARNING")
    assert (handler.level, handler.config.level) == (logging.WARNING, logging.WARNING)


@pytest.mark.parametrize("timeout", [None, 60, 1e10, 1e308, float("inf"), " 60 "])
def test_flush_takes_any_time(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, timeout: Any
) -> None:
    """It ends when it is done, however long it might have waited."""
    handler = make(shutdown_timeout=1e10)
    logger.addHandler(handler)
    logger.info("one")
    assert handler.flush(timeout)
    assert handler.stats().sent == 1
    handler.close()


@pytest.mark.parametrize("timeout", [0, -1, -0.0, float("-inf")])
def test_flush_without_time_only_asks(
    make: Callable[..., BatchUDPHandler],
    logger: logging.Logger,
    collector: DatagramCollector,
    timeout: float,
) -> None:
    """The records leave soon, and nobody has waited for it."""
    handler = make(flush_interval=1e10, batch_size=NEVER)
    logger.addHandler(handler)
    logger.info("leaves at once")
    logger.info("would wait")
    began = time.monotonic()
    handler.flush(timeout)
    assert time.monotonic() - began < 5.0
    assert collector.wait_for(2) == ["leaves at once", "would wait"]


@pytest.mark.parametrize("timeout", [float("nan"), "soon", True, b"1"])
def test_flush_refuses_what_is_no_time(make: Callable[..., BatchUDPHandler], timeout: Any) -> None:
    """Also when nothing waits."""
    with pytest.raises(ValueError, match="timeout must be a number of seconds"):
        make().flush(timeout)


def test_a_flush_without_end_ends_with_the_handler(logger: logging.Logger) -> None:
    """Another thread closes the handler: nothing is left to wait for."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.1)
    logger.addHandler(handler)
    logger.info("goes nowhere")
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(handler.flush(float("inf"))))
    thread.start()
    handler.close()
    thread.join(60.0)
    assert answers == [False]
