"""Errors that a configuration's handlers catch themselves are counted, through their instances.

"A handler on the far side raises: it is counted" holds for the standard library's handlers, too,
which swallow what goes wrong in `handleError`.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import queue
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.core.records.arrival import Arrival
from batchudp_handler.receiver.guard import Guard
from batchudp_handler.receiver.handler_errors import HandlerErrors, configured_handlers
from tests.cli.test_receive import Running
from tests.receiver.bench import Collector, connected, entry
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator


BAD_FORMAT = logging.Formatter("%(nosuch)s %(message)s")


@contextmanager
def on_root(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def errors_of(handler: logging.Handler, *messages: str) -> Any:
    """The counters of a receiver that counts the handler's errors and got these records."""
    with (
        on_root(handler),
        BatchUDPReceiver("127.0.0.1", 0) as receiver,
        connected(receiver.address) as plain,
    ):
        receiver.count_errors_of(handler)
        for message in messages:
            plain.send(entry(message))
        wait_until(lambda: receiver.stats().handler_errors == len(messages))
        return receiver.stats()


def full_disk(folder: pathlib.Path) -> logging.Handler:
    return logging.FileHandler("/dev/full", delay=True)


def wrong_format(folder: pathlib.Path) -> logging.Handler:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(BAD_FORMAT)
    return handler


def rotation_impossible(folder: pathlib.Path) -> logging.Handler:
    (folder / "x.log.1").mkdir()
    (folder / "x.log.1" / "kept").touch()
    (folder / "x.log").write_text("full\n" * 10)
    return logging.handlers.RotatingFileHandler(folder / "x.log", maxBytes=10, backupCount=1)


def nobody_takes_mail(folder: pathlib.Path) -> logging.Handler:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return logging.handlers.SMTPHandler(("127.0.0.1", port), "a@x", ["b@x"], "log")


def full_queue(folder: pathlib.Path) -> logging.Handler:
    waiting: queue.Queue[Any] = queue.Queue(1)
    waiting.put(None)
    return logging.handlers.QueueHandler(waiting)


def behind_a_memory_handler(folder: pathlib.Path) -> logging.Handler:
    return logging.handlers.MemoryHandler(1, target=wrong_format(folder))


class Slotted(logging.Handler):
    """Has slots of its own, beside the attributes that every handler has."""

    __slots__ = ("place",)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            raise LookupError(record.getMessage())
        except LookupError:
            self.handleError(record)


def with_slots(folder: pathlib.Path) -> logging.Handler:
    return Slotted()


class WithoutAnError(logging.Handler):
    """Calls `handleError` where nothing was raised."""

    def emit(self, record: logging.LogRecord) -> None:
        self.handleError(record)


def without_an_error(folder: pathlib.Path) -> logging.Handler:
    return WithoutAnError()


@pytest.mark.parametrize(
    "make",
    [
        full_disk,
        wrong_format,
        rotation_impossible,
        nobody_takes_mail,
        full_queue,
        behind_a_memory_handler,
        with_slots,
        without_an_error,
    ],
    ids=lambda function: function.__name__,
)
def test_what_a_handler_swallows_is_counted(
    make: Callable[[Any], logging.Handler], tmp_path: pathlib.Path, collected: Collector
) -> None:
    """Every kind of handler of the standard library, and its subclasses."""
    if make is full_disk and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    handler = make(tmp_path)
    stats = errors_of(handler, "one", "two", "three")
    assert (stats.delivered, stats.callback_errors["handler"]) == (3, 3)
    assert "handleError" not in vars(handler)  # as it was before
    with suppress(OSError):  # what the full disk did not take
        handler.close()


def test_behind_a_queue(tmp_path: pathlib.Path, collected: Collector) -> None:
    """Handlers of a `QueueListener` raise on its thread, and are counted."""
    waiting: queue.Queue[Any] = queue.Queue()
    handler = logging.handlers.QueueHandler(waiting)
    listener = logging.handlers.QueueListener(waiting, wrong_format(tmp_path))
    handler.listener = listener  # type: ignore[attr-defined]  # where dictConfig puts it
    listener.start()
    try:
        stats = errors_of(handler, "one", "two")
    finally:
        listener.stop()
    assert stats.handler_errors == 2


def test_it_is_said_with_name_text_and_count(
    collected: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """One warning for many records; the forty lines of `logging` are printed once."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(BAD_FORMAT)
    handler.set_name("audit")
    with (
        on_root(handler),
        BatchUDPReceiver("127.0.0.1", 0) as receiver,
        connected(receiver.address) as plain,
    ):
        receiver.count_errors_of(handler)
        plain.send(b"[" + b",".join(map(entry, map(str, range(50)))) + b"]")
        wait_until(lambda: any("raised on" in text for text in collected.messages))
    (said,) = [text for text in collected.messages if "raised on" in text]
    assert said.startswith("a local handler raised on 50 records, latest ValueError: ")
    assert "nosuch" in said
    assert said.endswith("in StreamHandler 'audit'")
    printed = capsys.readouterr().err
    assert printed.count("--- Logging error ---") == 1
    assert said in printed  # the handler could not print this either
    assert receiver.stats().callback_errors["diagnostics"] >= 1


def test_records_of_the_program_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """What the program itself logs is neither counted nor kept from being printed."""
    guard = Guard()
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(BAD_FORMAT)
    HandlerErrors(guard).watch([handler])
    for _ in range(3):
        handler.handle(logging.LogRecord("own", 20, "p", 1, "m", (), None))
    assert guard.callback_errors() == {}
    assert capsys.readouterr().err.count("--- Logging error ---") == 3


def test_a_class_with_its_own_ways_keeps_them(collected: Collector) -> None:
    """An overridden `handleError` is called for each record; what it raises counts once."""
    seen: list[str] = []

    class Loud(logging.StreamHandler[Any]):
        def handleError(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            raise  # noqa: PLE0704  # as many programs do in their tests

    handler = Loud(io.StringIO())
    handler.setFormatter(BAD_FORMAT)
    stats = errors_of(handler, "one", "two", "three")
    assert seen[:3] == ["one", "two", "three"]
    assert stats.handler_errors == 3


def test_a_handler_that_takes_no_attribute_is_named(collected: Collector) -> None:
    """What cannot be counted is said."""

    class Closed(logging.Handler):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "handleError":
                raise TypeError("closed")
            super().__setattr__(name, value)

    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        receiver.count_errors_of(Closed())
    assert "errors of Closed cannot be counted" in collected.messages[0]


def test_two_receivers_count_the_same_handler(collected: Collector) -> None:
    """Each counts; each takes back its own; nothing is left behind."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(BAD_FORMAT)
    first, second = Guard(), Guard()
    one, two = HandlerErrors(first), HandlerErrors(second)
    one.watch([handler])
    two.watch([handler])
    two.watch([handler])
    record = logging.makeLogRecord({"batchudp": Arrival(), "msg": "m"})
    handler.handle(record)
    assert (first.handler_errors, second.handler_errors) == (1, 1)
    two.stop()
    handler.handle(record)
    assert (first.handler_errors, second.handler_errors) == (2, 1)
    one.stop()
    assert "handleError" not in vars(handler)


def test_a_configuration_counts_and_a_reload_does(tmp_path: pathlib.Path) -> None:
    """`batchudp-receive --config` counts what its handlers swallow, new ones after SIGHUP too."""
    config = tmp_path / "logging.toml"

    def write(name: str) -> None:
        config.write_text(
            f"""
            version = 1
            disable_existing_loggers = false
            [formatters.bad]
            format = "%(nosuch)s %(message)s"
            [handlers.{name}]
            class = "logging.FileHandler"
            filename = "{tmp_path}/{name}.log"
            formatter = "bad"
            [root]
            level = "INFO"
            handlers = ["{name}"]
            """
        )

    write("first")
    with Running(tmp_path, "--config", str(config)) as running:
        running.send(*[{"message": f"m {n}", "level": "info"} for n in range(50)])
        wait_until(lambda: "FileHandler 'first'" in running.stderr)
        write("second")
        running.process.send_signal(__import__("signal").SIGHUP)
        wait_until(lambda: "configuration read" in running.stderr)
        running.send({"message": "n", "level": "info"})
        wait_until(lambda: "FileHandler 'second'" in running.stderr)
        assert running.end() == 0
        stderr = running.stderr
    assert stderr.count("--- Logging error ---") == 2  # one for each handler
    assert f"({tmp_path}/first.log)" in stderr
    assert "handler errors 51" in stderr


def test_all_handlers_of_the_process_are_found(collected: Collector) -> None:
    """Those of the root logger and of every other; placeholders have none."""
    handler = logging.NullHandler()
    log = logging.getLogger("found.deep.down")
    log.addHandler(handler)
    try:
        found = configured_handlers()
    finally:
        log.removeHandler(handler)
    assert handler in found
    assert collected in found
    assert sys.modules["logging"].Handler.handleError.__qualname__ == "Handler.handleError"


# --- records that reach no handler -------------------------------------------------------------


@contextmanager
def bare_root(level: int = logging.NOTSET) -> Iterator[None]:
    """A process whose root logger has no handler."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(level)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)


def test_a_record_without_a_handler_is_counted_and_said_once(
    capsys: pytest.CaptureFixture[str], own_loggers: None
) -> None:
    """No root handler: counted, said once; `logging.lastResort` prints warnings as it does."""
    with (
        bare_root(),
        BatchUDPReceiver("127.0.0.1", 0) as receiver,
        connected(receiver.address) as plain,
    ):
        for level in ("info", "info", "warning"):
            plain.send(entry("m", level=level, logger="shop"))
        wait_until(lambda: receiver.stats().delivered == 3)
    stats = receiver.stats()
    assert (stats.unhandled, stats.filtered, stats.handler_errors) == (3, 0, 0)
    said = capsys.readouterr().err.splitlines()
    assert said.count("m") == 1
    assert sum("found no handler" in line and "basicConfig" in line for line in said) == 1


def test_levels_that_nobody_wants_are_filtered(own_loggers: None) -> None:
    """A level of the logger or of all its handlers that is too high is no missing handler."""
    strict = Collector()
    strict.setLevel(logging.ERROR)
    log = logging.getLogger("strict")
    log.propagate = False
    log.addHandler(strict)
    with (
        bare_root(),
        BatchUDPReceiver("127.0.0.1", 0) as receiver,
        connected(receiver.address) as plain,
    ):
        for level in ("info", "error"):
            plain.send(entry("m", level=level, logger="strict"))
        wait_until(lambda: receiver.stats().delivered == 2)
    stats = receiver.stats()
    assert (stats.unhandled, stats.filtered) == (0, 1)
    assert len(strict.records) == 1


def test_a_configuration_without_a_root_handler_says_so(tmp_path: pathlib.Path) -> None:
    """`batchudp-receive` names the logger and what to do, and the summary has the count."""
    config = tmp_path / "logging.toml"
    config.write_text(
        f"""
        version = 1
        [handlers.shop]
        class = "logging.FileHandler"
        filename = "{tmp_path}/shop.log"
        [loggers.shop]
        level = "INFO"
        handlers = ["shop"]
        propagate = false
        """
    )
    with Running(tmp_path, "--config", str(config)) as running:
        running.send(
            {"message": "seen", "level": "error", "logger": "shop.cart"},
            {"message": "unseen", "level": "error", "logger": "other"},
        )
        wait_until(lambda: "found no handler, latest from logger 'other'" in running.stderr)
        assert running.end() == 0
        assert "unhandled 1" in running.stderr
    assert (tmp_path / "shop.log").read_text() == "seen\n"
