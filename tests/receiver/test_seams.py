"""Code of the program that the receiver calls may raise anything, at every seam.

`SEAMS` has a row for each `Seam`: it makes the program's code raise there, and says which counter
must move and how to see that the receiver goes on. A seam without a row, a thread without a
guarded root, and a callable that nobody has assigned to a seam fail a test.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler.control.client import NobodyAnswers, ask, follow
from batchudp_handler.control.heartbeat import Heartbeat
from batchudp_handler.control.server import ControlServer
from batchudp_handler.control.tap import Tap
from batchudp_handler.core.receive.stats import ReceiverStats
from batchudp_handler.receiver import BatchUDPReceiver
from batchudp_handler.receiver.guard import Guard, Loop, Seam, error_text, run_loop
from batchudp_handler.receiver.reemit import DIAGNOSTICS, Reemitter
from batchudp_handler.receiver.worker import LoggingWorker
from tests.receiver.bench import Collector, connected, entry
from tests.support import wait_until
from tests.test_layering import ROOT, functions, modules

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from tests.test_layering import Module


class Unprintable(Exception):
    """Raises when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


ERRORS = (
    ValueError("some\ntext"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    Unprintable(),
    RecursionError(),
)


class Bad:
    """Raises an error until it is told to stop."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.is_over = False
        self.calls = 0

    def __call__(self, *_: object) -> None:
        if not self.is_over:
            self.calls += 1
            raise self.error


class BadHandler(logging.Handler):
    """A handler that raises on the records of one text."""

    def __init__(self, bad: Bad, text: str) -> None:
        super().__init__()
        self._bad = bad
        self._text = text

    def handle(self, record: logging.LogRecord) -> bool:
        if self._text in record.getMessage():
            self._bad()
        return True


@contextlib.contextmanager
def attached(handler: logging.Handler, name: str = "") -> Iterator[None]:
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)


@contextlib.contextmanager
def factory(made: Callable[..., logging.LogRecord]) -> Iterator[None]:
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(made)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


class Row:
    """One receiver, its plain sender and what arrived."""

    def __init__(self, bad: Bad, collected: Collector, folder: pathlib.Path) -> None:
        self.bad = bad
        self.collected = collected
        self.folder = folder

    def run(
        self, seam: Seam, provoke: Callable[[Any, Any], object] | None = None, **settings: Any
    ) -> None:
        """Send a bad record, see it counted, and then a good one, which arrives."""
        with (
            BatchUDPReceiver("127.0.0.1", 0, **settings) as receiver,
            connected(receiver.address) as plain,
        ):
            if provoke is not None:
                provoke(receiver, plain)
            plain.send(entry("bad"))
            wait_until(lambda: receiver.stats().callback_errors.get(seam, 0))
            self.bad.is_over = True
            plain.send(entry("after"))
            wait_until(lambda: "after" in self.collected.messages)
            names = {each.name for each in threading.enumerate()}
            assert {"batchudp-receiver", "batchudp-worker"} <= names


# --- one function for each seam ----------------------------------------------------------------


def handler(row: Row) -> None:
    with attached(BadHandler(row.bad, "bad")):
        row.run(Seam.HANDLER)


def record_factory(row: Row) -> None:
    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        if args[0] is None:  # for a record that arrived
            row.bad()
        return logging.LogRecord(*args, **kwargs)

    with factory(make):
        row.run(Seam.RECORD_FACTORY)
    assert "bad" in row.collected.messages  # it was made without the factory


def diagnostics(row: Row) -> None:
    with attached(BadHandler(row.bad, ""), DIAGNOSTICS):
        row.run(Seam.DIAGNOSTICS, lambda _, plain: plain.send(b"\xcb\xf2\x00[5]"))


def after_batch(row: Row) -> None:
    row.run(Seam.AFTER_BATCH, after_batch=row.bad)


def between_batches(row: Row) -> None:
    row.run(Seam.BETWEEN_BATCHES, lambda receiver, _: receiver.call_between_batches(row.bad))


def on_reader(row: Row) -> None:
    row.run(Seam.ON_READER, lambda receiver, _: receiver.call_on_reader(row.bad))


def worker(row: Row) -> None:
    class Odd(LoggingWorker):
        def put(self, events: Any) -> None:
            row.bad()
            super().put(events)

    made = partial(Odd, reemitter=Reemitter(), after_batch=None)
    row.run(Seam.WORKER, new_worker=made)
    assert "bad" not in row.collected.messages


def clock(row: Row) -> None:
    def now() -> float:
        if threading.current_thread() is not threading.main_thread():  # it may end the program
            row.bad()
        return time.monotonic()

    row.run(Seam.CLOCK, clock=now)


def tap(row: Row) -> None:
    class Odd(logging.LogRecord):
        def getMessage(self) -> str:
            row.bad()
            return super().getMessage()

    guard, records = Guard(), Tap()
    lines: list[dict[str, Any]] = []
    place = str(row.folder / "control.sock")
    server = ControlServer(place, answers={}, tap=records, guard=guard)
    server.start()

    def read() -> None:
        with contextlib.suppress(NobodyAnswers):
            lines.extend(map(json.loads, follow([place], {})))

    threading.Thread(target=read, daemon=True).start()
    try:
        wait_until(lambda: records.has_followers)
        records.offer([Odd("n", 20, "p", 1, "odd", (), None)])
        wait_until(lambda: guard.callback_errors() == {"tap": 1})
        row.bad.is_over = True
        records.offer([Odd("n", 20, "p", 1, "fine", (), None)])
        wait_until(lambda: len(lines) == 2)
        assert (lines[0], lines[1]["msg"]) == ({"skipped": 1}, "fine")
    finally:
        server.close()


def answer(row: Row) -> None:
    guard = Guard()
    place = str(row.folder / "control.sock")
    answers: dict[str, Any] = {"stats": row.bad, "health": lambda: '{"healthy": true}'}
    server = ControlServer(place, answers=answers, tap=None, guard=guard)
    server.start()
    try:
        with pytest.raises(NobodyAnswers, match="stats cannot be told"):
            ask([place], "stats")
        assert guard.callback_errors() == {"answer": 1}
        assert ask([place], "health") == {"healthy": True}
    finally:
        server.close()


def metrics(row: Row) -> None:
    pytest.importorskip("prometheus_client")
    from batchudp_handler.control.metrics import MetricsServer

    def stats() -> ReceiverStats:
        row.bad()
        return ReceiverStats(delivered=7)

    guard = Guard()
    server = MetricsServer("127.0.0.1", 0, stats, lambda: True, guard=guard)
    server.start()
    url = f"http://127.0.0.1:{server.port}/metrics"
    try:
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(url, timeout=10).close()
        assert guard.callback_errors() == {"metrics": 1}
        row.bad.is_over = True
        with urllib.request.urlopen(url, timeout=10) as page:
            assert b"batchudp_receiver_delivered_records_total 7.0" in page.read()
    finally:
        server.close()


SEAMS: dict[Seam, Callable[[Row], None]] = {
    Seam.HANDLER: handler,
    Seam.RECORD_FACTORY: record_factory,
    Seam.DIAGNOSTICS: diagnostics,
    Seam.AFTER_BATCH: after_batch,
    Seam.BETWEEN_BATCHES: between_batches,
    Seam.ON_READER: on_reader,
    Seam.WORKER: worker,
    Seam.CLOCK: clock,
    Seam.TAP: tap,
    Seam.ANSWER: answer,
    Seam.METRICS: metrics,
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("seam", Seam)
def test_whatever_is_raised_is_counted(
    seam: Seam, error: BaseException, collected: Collector, tmp_path: pathlib.Path
) -> None:
    """What the program's code raises at a seam is counted there, and the next record arrives."""
    SEAMS[seam](Row(Bad(error), collected, tmp_path))


def test_the_message_names_handler_and_error(collected: Collector) -> None:
    """What was raised is told with its text on one line, its handler, and how often."""
    bad = BadHandler(Bad(ValueError("two\nlines\x1b[2J")), "bad")
    bad.set_name("audit")
    with (
        attached(bad),
        BatchUDPReceiver("127.0.0.1", 0) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(b"[" + b",".join(map(entry, ("bad", "bad", "bad"))) + b"]")
        words = "a local handler raised on 3 records, latest "
        expected = words + r"ValueError: two lines\x1b[2J in BadHandler 'audit'"
        wait_until(lambda: expected in collected.messages)


def test_a_message_that_cannot_be_logged_goes_to_stderr(
    collected: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receiver's own words are not lost with the handler that should have printed them."""
    with (
        attached(BadHandler(Bad(ValueError("no")), ""), DIAGNOSTICS),
        BatchUDPReceiver("127.0.0.1", 0) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(b"\xcb\xf2\x00[5]")
        wait_until(lambda: receiver.stats().callback_errors.get("diagnostics"))
    said = capsys.readouterr().err
    assert "rejected 1 record from 127.0.0.1, bad_record" in said
    assert "a handler of the logger batchudp.receiver raised ValueError: no" in said


def test_stats_are_the_sums_of_all_workers() -> None:
    """Errors by name add up like other counters when several processes receive."""
    from batchudp_handler.receiver.totals import total

    one = ReceiverStats(callback_errors={"handler": 1}, unhandled=2)
    two = ReceiverStats(callback_errors={"handler": 2, "clock": 1}, unhandled=3)
    both = total([one, two])
    assert (both.callback_errors, both.unhandled) == ({"handler": 3, "clock": 1}, 5)


# --- the loops ---------------------------------------------------------------------------------


def test_a_loop_goes_on_after_any_error() -> None:
    """Each error costs a turn and is counted; the loop ends when it is told to."""
    guard, turns = Guard(), iter(ERRORS)
    seen: list[int] = []

    def turn() -> None:
        seen.append(1)
        raise next(turns, ValueError())

    def run() -> None:
        run_loop(guard, Loop.PULSE, turn, lambda: len(seen) > 2)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert guard.internal_errors() == {"pulse": 3}


def test_the_main_thread_can_be_ended() -> None:
    """`KeyboardInterrupt` and `SystemExit` of a signal handler end `serve_forever` there."""
    for error in (KeyboardInterrupt(), SystemExit()):
        guard = Guard()
        with pytest.raises(type(error)):
            guard.run(Seam.ON_READER, Bad(error))
        assert guard.callback_errors() == {}


def test_a_pulse_that_raises_goes_on() -> None:
    """A service manager that cannot be told is no reason to stop asking the loops."""
    guard, asked = Guard(), []
    pulse = Heartbeat(
        {"worker": lambda answer: asked.append(answer) or answer()},  # type: ignore[func-returns-value]
        interval=0.01,
        after_question=Bad(ValueError()),
        guard=guard,
    )
    pulse.start()
    wait_until(lambda: len(asked) > 1)
    pulse.stop()
    assert guard.internal_errors()["pulse"] > 0


# --- nothing is left out -----------------------------------------------------------------------

ROOMS = {"receiver", "control", "engines"}

GUARDED: dict[str, Seam | str] = {
    "after_batch": Seam.AFTER_BATCH,
    "_after_batch": Seam.AFTER_BATCH,
    "clock": Seam.CLOCK,
    "_calls": Seam.ON_READER,
    "function": Seam.BETWEEN_BATCHES,
    "handle": Seam.HANDLER,
    "is_enabled_for": Seam.HANDLER,
    "answers": Seam.ANSWER,
    "stats": Seam.METRICS,
    "is_healthy": Seam.METRICS,
    "ask": Seam.WORKER,
    # ours: they do not run code of the program
    "on_handled": "the core's answer",
    "_on_handled": "the core's answer",
    "kernel_drops": "reads a counter of the system",
    "wake": "the server of the control socket",
    "deliver": "the worker's queue",
    "after_question": "root of the loop pulse",
    "turn": "root of a loop",
    "is_over": "root of a loop",
    "action": "one client of a server, whose end it is",
    "main": "root of the loop engine",
    "original": "a handler's own handleError, called by that handler",
    "cancel": "nats",
    "on_away": "adds to what the operator is told",
    "kinds": "reads an option of a URL",
}
"""Every callable that is kept or passed on in these rooms: its seam, or why it needs none."""


def callables(module: Module) -> Iterator[str]:
    """The names of arguments, attributes and fields that are declared to be callable."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            name, annotation = node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign):
            name = ast.unparse(node.target).rpartition(".")[2]
            annotation = node.annotation
        else:
            continue
        if "Callable" in ast.unparse(annotation):
            yield name


def test_every_seam_has_a_row() -> None:
    """Whoever adds a seam adds a row, and every seam is used."""
    assert set(SEAMS) == set(Seam)
    source = "".join(path.read_text("utf-8") for path in ROOT.rglob("*.py"))
    assert [seam for seam in Seam if f"Seam.{seam.name}" not in source] == []
    assert [loop for loop in Loop if f"Loop.{loop.name}" not in source] == []


@pytest.mark.parametrize(
    "module", [each for each in modules().values() if each.room in ROOMS], ids=lambda m: m.name
)
def test_every_callable_has_a_seam(module: Module) -> None:
    """A callable that a program gives to the receiver is called at a seam."""
    assert sorted(set(callables(module)) - set(GUARDED)) == []


@pytest.mark.parametrize(
    "module", [each for each in modules().values() if each.room in ROOMS], ids=lambda m: m.name
)
def test_every_message_goes_through_the_guard(module: Module) -> None:
    """A handler of the logger `batchudp.receiver` is code of the program, too."""
    methods = {"debug", "info", "warning", "error", "exception", "critical", "log"}
    calls = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    plain = [each for each in calls if isinstance(each, ast.Attribute) and each.attr in methods]
    assert module.name == "receiver.guard" or [ast.unparse(each) for each in plain] == []


ROOTS = {"run_loop", "serve_forever", "run_until_complete"}
"""What a thread of ours may be: `serve_forever` calls the first, the engines' loop is the last."""


@pytest.mark.parametrize("module", modules().values(), ids=lambda m: m.name)
def test_every_thread_has_a_guarded_root(module: Module) -> None:
    """A thread of the receiving side runs a loop that no error ends."""
    if module.room not in ROOMS | {"cli"}:
        return
    bodies = {function.name: ast.unparse(function) for function in functions(module)}
    for target in thread_targets(module):
        body = bodies.get(target.removeprefix("self."), target)
        assert any(root in body for root in ROOTS) or (module.name, target) in WITHOUT_LOOP


WITHOUT_LOOP = {
    ("cli.probe", "look_up"),  # one look-up
    ("cli.shipping", "self._show_progress"),  # of the sending side
    (
        "cli.shipping",
        "self._ship_all",
    ),  # the same; what it raises is raised again by the main thread
    ("cli.reload", "_end_with"),  # of a process that tries a configuration
    ("cli.ending", "self._watch"),  # contains what it calls; ends the process
    ("cli.ending", "lambda: codes.append(self._last_words())"),  # the last call of a process
}
"""Threads that run no loop of a receiver."""


def thread_targets(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "threading.Thread":
            yield from (ast.unparse(word.value) for word in node.keywords if word.arg == "target")


# --- what errors look like ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, "an unknown error"),
        (KeyError("a"), "KeyError: 'a'"),
        (Unprintable(), "Unprintable: <unprintable>"),
        (ValueError(""), "ValueError"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (ValueError("\x00\u202e\n x"), r"ValueError: \x00\u202e x"),
    ],
)
def test_the_text_of_an_error(error: BaseException | None, text: str) -> None:
    """One line, nothing that a terminal would obey, and never an error of its own."""
    assert error_text(error) == text
