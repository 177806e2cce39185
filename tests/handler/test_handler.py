"""Is the handler a `logging.Handler` like any other, and do its settings mean what they say?"""

from __future__ import annotations

import copy
import gc
import json
import logging
import logging.config
import logging.handlers
import pickle
import queue
import sys
import textwrap
import threading
import time
import weakref
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler, HandlerConfig
from batchudp_handler.core.records.snapshot import completed
from batchudp_handler.testing.collector import DatagramCollector
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchudp_handler.config import Overflow

NEVER = 1_000_000


@pytest.fixture
def make(collector: DatagramCollector) -> Iterator[Callable[..., BatchUDPHandler]]:
    """Make handlers that ship to the collector and are closed at the end."""
    made: list[BatchUDPHandler] = []

    def make_handler(**settings: Any) -> BatchUDPHandler:
        host, port = collector.address
        made.append(BatchUDPHandler(host, port, **settings))
        return made[-1]

    yield make_handler
    for handler in made:
        handler.close()


# --- the way of a record -----------------------------------------------------------------------


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


# --- what logging expects ----------------------------------------------------------------------


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


# --- settings ----------------------------------------------------------------------------------


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
        patch.setattr(handler._flusher._pump, "turn", busy)
        logger.error("wakes the thread")
        assert is_busy.wait(60.0)
        assert handler.reconfigure(batch_size=40) is False
        assert handler.config.batch_size == 40
    may_go_on.set()
    wait_until(lambda: handler._flusher.settings.batch_size == 40)


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


# --- capacity ----------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_the_drop_policies_keep_their_word(
    logger: logging.Logger, overflow: Overflow, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no way out, exactly the capacity is kept, from the right end, and stderr told once."""
    handler = BatchUDPHandler(
        "unresolvable.invalid", 9, capacity=50, overflow=overflow, shutdown_timeout=0.1
    )
    logger.addHandler(handler)
    for number in range(200):
        logger.info("n %d", number)
    stats = handler.stats()
    assert (stats.accepted, stats.waiting, stats.dropped) == (200, 50, {"buffer_full": 150})
    waiting = [snapshot[20][0] for snapshot in completed(handler._buffer._items)]
    assert waiting == list(range(150, 200) if overflow == "drop_oldest" else range(50))
    handler.close()
    stats = handler.stats()
    assert stats.dropped == {"buffer_full": 150, "closed": 50}
    assert stats.accepted == balance(stats) == 200
    note = capsys.readouterr().err
    assert "200 records" in note
    assert len(note.splitlines()) <= 2


def test_drops_are_told_to_the_receiver(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """SYNC carries the number of records that never got a number."""
    handler = make(capacity=5, overflow="drop_newest", batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    wait_until(lambda: handler.stats().sent == 1)

    def is_full() -> bool:  # the flusher may take some, but not as fast as they come
        for number in range(20):
            logger.info("n %d", number)
        return "buffer_full" in handler.stats().dropped

    wait_until(is_full)
    handler.close()
    collector.wait_until(lambda: collector.syncs and collector.syncs[-1][1].closing)
    assert collector.syncs[-1][1].dropped_records == handler.stats().dropped["buffer_full"] > 0


def test_block_loses_nothing(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """With `overflow="block"`, a small buffer slows the callers down and keeps every record."""
    handler = make(capacity=100, overflow="block", overflow_timeout=10.0)
    logger.addHandler(handler)

    def log(worker: int) -> None:
        for number in range(5_000):
            logger.info("%d/%d", worker, number)

    workers = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30.0)
    assert handler.flush(60.0)
    assert len(set(collector.wait_for(20_000))) == 20_000
    assert handler.stats().dropped == {}


def test_block_gives_up_after_its_timeout(logger: logging.Logger) -> None:
    """Where nothing leaves, a log call is held for `overflow_timeout` and the record dropped."""
    handler = BatchUDPHandler(
        "unresolvable.invalid",
        9,
        capacity=10,
        overflow="block",
        overflow_timeout=0.2,
        shutdown_timeout=0.1,
    )
    logger.addHandler(handler)
    for number in range(10):
        logger.info("n %d", number)
    began = time.monotonic()
    logger.info("one too many")
    assert 0.15 <= time.monotonic() - began < 1.0
    assert handler.stats().dropped == {"buffer_full": 1}
    handler.close()


def test_quiet_when_told_to_be(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `logging.raiseExceptions` off, nothing is written to stderr."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = BatchUDPHandler("unresolvable.invalid", 9, capacity=5, shutdown_timeout=0.0)
    logger.addHandler(handler)
    for number in range(20):
        logger.info("n %d", number)
    handler.close()
    assert capsys.readouterr().err == ""


# --- flush and close ---------------------------------------------------------------------------


def test_a_handler_without_records_costs_nothing() -> None:
    """No thread, no socket before the first record; flush and close return at once."""
    threads = threading.active_count()
    handler = BatchUDPHandler("unresolvable.invalid")
    assert threading.active_count() == threads
    began = time.monotonic()
    assert handler.flush()
    handler.close()
    handler.close()
    assert time.monotonic() - began < 0.1


def test_flush_is_bounded(logger: logging.Logger) -> None:
    """With no way out, `flush` says no after its timeout, and None stands for a bound, too."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.3)
    logger.addHandler(handler)
    logger.info("x")
    for timeout, least, most in ((0.1, 0.08, 0.6), (None, 0.25, 1.0)):
        began = time.monotonic()
        assert not handler.flush(timeout)
        assert least <= time.monotonic() - began < most
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 0.3, "a flush has just waited in vain: close must not again"


def test_close_is_bounded_and_says_what_it_left(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within `shutdown_timeout`, and with one line on stderr."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.3)
    logger.addHandler(handler)
    for number in range(7):
        logger.info("n %d", number)
    began = time.monotonic()
    handler.close()
    assert time.monotonic() - began < 0.8
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "batchudp-handler: 7 records for unresolvable.invalid:9 were lost so far: closed 7; the "
    )


def test_close_sends_what_waits(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Nothing is left behind, the thread ends, and the receiver is told that it was all."""
    handler = make(batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    for number in range(500):
        logger.info("n %d", number)
    handler.close()
    assert len(collector.wait_for(500)) == 500
    collector.wait_until(lambda: len(collector.syncs) >= 2)
    assert collector.syncs[-1][1].closing
    assert collector.syncs[-1][1].next_rec == 500
    assert "batchudp-flusher" not in {thread.name for thread in threading.enumerate()}


def test_a_record_after_the_close_is_sent_at_once(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """By the thread that logs, as a stream of its own with a beginning and an end."""
    handler = make()
    logger.addHandler(handler)
    logger.info("before")
    handler.close()
    logger.info("after")
    assert collector.wait_for(2) == ["before", "after"]
    assert len(collector.streams) == 2
    late = list(collector.streams)[-1]
    collector.wait_until(
        lambda: any(stream == late and sync.closing for stream, sync in collector.syncs)
    )
    stats = handler.stats()
    assert (stats.accepted, stats.sent) == (2, 2) == (balance(stats), 2)


def test_a_record_after_the_close_that_cannot_be_sent_is_counted(logger: logging.Logger) -> None:
    """It costs little time, and raises nothing."""
    handler = BatchUDPHandler("unresolvable.invalid", 9, shutdown_timeout=0.0)
    logger.addHandler(handler)
    handler.close()
    began = time.monotonic()
    logger.info("after")
    assert time.monotonic() - began < 0.5
    assert handler.stats().dropped == {"closed": 1}


def test_flush_and_close_from_many_threads(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Everybody gets an answer, and nothing is lost or sent twice."""
    handler = make(overflow="block")
    logger.addHandler(handler)
    results: list[bool] = []

    def work(worker: int) -> None:
        for number in range(50):
            logger.info("%d/%d", worker, number)
            results.append(handler.flush(5.0))
        handler.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30.0)
        assert not worker.is_alive()
    assert len(set(collector.wait_for(400))) == 400
    stats = handler.stats()
    assert stats.accepted == balance(stats) == stats.sent == 400


def test_a_forgotten_handler_sends_what_it_has(
    logger: logging.Logger, collector: DatagramCollector
) -> None:
    """A handler that is collected without a close leaves no record and no thread behind."""
    handler = BatchUDPHandler(*collector.address, batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    logger.info("first")
    collector.wait_for(1)
    logger.info("second")
    gone = weakref.ref(handler)
    logger.removeHandler(handler)
    del handler
    gc.collect()
    assert gone() is None
    assert collector.wait_for(2) == ["first", "second"]
    wait_until(lambda: "batchudp-flusher" not in {each.name for each in threading.enumerate()})


def test_logging_shutdown_sends_what_waits(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """`logging.shutdown` holds the handler's lock; nobody of us wants it."""
    handler = make(batch_size=NEVER, flush_interval=60.0)
    logger.addHandler(handler)
    for number in range(100):
        logger.info("n %d", number)
    logging.shutdown([weakref.ref(handler)])
    assert len(collector.wait_for(100)) == 100


def test_the_locked_handler_still_takes_records(
    make: Callable[..., BatchUDPHandler], logger: logging.Logger, collector: DatagramCollector
) -> None:
    """Somebody who holds the handler's lock, or took it away, stops no log call."""
    handler = make()
    logger.addHandler(handler)
    handler.acquire()
    worker = threading.Thread(target=logger.info, args=("locked",), daemon=True)
    worker.start()
    worker.join(5.0)
    assert not worker.is_alive()
    handler.release()
    handler.lock = None
    logger.info("no lock")
    assert handler.flush()
    assert collector.wait_for(2) == ["locked", "no lock"]
    handler.createLock()


# --- numbers -----------------------------------------------------------------------------------


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


def test_records_from_the_socket_code_are_not_shipped(
    make: Callable[..., BatchUDPHandler],
    logger: logging.Logger,
    collector: DatagramCollector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instrumented socket that logs each call does not keep the handler busy with itself."""
    handler = make()
    logger.addHandler(handler)
    transport = type(handler._flusher._get_pump().transport)
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
        record.hops, record.received = hops, 1.0
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
    record = logging.makeLogRecord({"msg": "m", "hops": hops, "received": 1.0})
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
