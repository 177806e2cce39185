"""A log call may be interrupted, at any point, by code that logs.

Signal handlers, destructors and weak references run between any two instructions, also inside a
log call of ours. Each case is a program of its own with a watchdog, because a deadlock cannot be
caught from inside. Afterwards every record is accounted for.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from tests.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batchudp_handler.testing.collector import DatagramCollector
    from tests.table import Table

PREAMBLE = """\
import faulthandler, gc, logging, signal, sys, threading, time, weakref
faulthandler.dump_traceback_later(90, exit=True)
from batchudp_handler import BatchUDPHandler
logger = logging.getLogger("program")
logger.setLevel(logging.DEBUG)
handler = BatchUDPHandler(sys.argv[1], int(sys.argv[2]), **eval(sys.argv[3]))
logger.addHandler(handler)
logged = 0

def collect(is_over):
    # a call does nothing while another thread collects, and that may be a part only
    while not is_over():
        gc.collect()
        time.sleep(0.001)

def account():
    handler.close()
    stats = handler.stats()
    total = stats.sent + stats.waiting + stats.retained + sum(stats.dropped.values())
    assert stats.waiting == 0, stats
    assert stats.accepted == total, stats
    print(stats.accepted, stats.sent, dict(stats.dropped))
"""
"""What a case says at the end: accepted, sent, dropped."""

SETTINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "small buffer": {"capacity": 50, "batch_size": 5},
    "every record wakes": {"batch_size": 1, "flush_level": 0},
    # short: each signal that comes while one is held nests deeper
    "block": {"capacity": 50, "overflow": "block", "overflow_timeout": 0.002},
}


@pytest.fixture
def run(collector: DatagramCollector, tmp_path: Path) -> Callable[..., tuple[int, int, int]]:
    """Run a program; the numbers of records that it accepted, sent, and counted as dropped."""

    def run_program(text: str, settings: str) -> tuple[int, int, int]:
        path = tmp_path / "program.py"
        path.write_text(PREAMBLE + textwrap.dedent(text))
        host, port = collector.address
        ended = subprocess.run(
            [sys.executable, str(path), host, str(port), repr(SETTINGS[settings])],
            # measured, a signal's handler would take longer than the next signal
            env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        accepted, sent, dropped = ended.stdout.split(" ", 2)
        return int(accepted), int(sent), sum(ast.literal_eval(dropped).values())

    return run_program


@pytest.fixture
def settle(collector: DatagramCollector, table: Table) -> Callable[[str, int, int, int], None]:
    """Every record was sent or counted as dropped, and what was sent has come, once."""
    began = time.monotonic()

    def count(case: str, accepted: int, sent: int, dropped: int) -> None:
        collector.wait_for(sent)
        collector.close()  # when it has read what is left
        came = len(collector.records)
        lost, more = max(accepted - came, 0), max(came - sent, 0)
        table.add_row(Row(case, accepted, came, lost, more, time.monotonic() - began))
        assert accepted == sent + dropped
        assert came == sent

    return count


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_signal_handler_that_logs(
    run: Callable[..., tuple[int, int, int]],
    settle: Callable[[str, int, int, int], None],
    settings: str,
) -> None:
    """A handler that runs 5,000 times a second, in the middle of log calls of every length."""
    accepted, sent, dropped = run(
        """
        signals = depth = 0
        def on_alarm(number, frame):
            global signals, depth
            if depth == 30:
                return  # held calls nest: a busy machine would get to the recursion limit
            depth += 1
            signals += 1
            logger.info("signal %d", signals)
            depth -= 1
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        calls, end = 0, time.monotonic() + 2.0
        while time.monotonic() < end:
            logger.info("call %d %s", calls, "x" * (calls % 50), extra={"n": calls})
            calls += 1
            if calls % 100 == 0:
                handler.flush(0.01)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert signals > 200, signals
        account()
        assert handler.stats().accepted == calls + signals, (calls, signals)
        """,
        settings,
    )
    settle(f"SIGALRM handler at 5 kHz, {settings}", accepted, sent, dropped)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_log_call_that_is_interrupted_at_every_line(
    run: Callable[..., tuple[int, int, int]],
    settle: Callable[[str, int, int, int], None],
    settings: str,
) -> None:
    """Signals leave it to chance where they interrupt; a trace function comes everywhere.

    The first call starts the thread, and later ones find the buffer full: a record is logged
    between any two lines of them, in this package, in `logging` and in `threading`.
    """
    accepted, sent, dropped = run(
        """
        interrupted = 0
        def interrupt(frame, event, argument):
            global interrupted
            if event == "line" and frame.f_code.co_filename != __file__:
                interrupted += 1
                logger.info("line %d", interrupted)
            return interrupt
        for calls in range(1, 41):
            sys.settrace(interrupt)
            logger.info("call %d", calls)
            sys.settrace(None)
        account()
        assert interrupted > 400, interrupted
        assert handler.stats().accepted == calls + interrupted
        """,
        settings,
    )
    settle(f"interrupted at every line, {settings}", accepted, sent, dropped)


@pytest.mark.slow
def test_a_caller_who_sends_is_interrupted_at_every_line(
    run: Callable[..., tuple[int, int, int]], settle: Callable[[str, int, int, int], None]
) -> None:
    """Where no thread can run, a log call encodes and sends, and may be interrupted in that.

    The first call at its first line, the next at its second, until one has no such line. What
    the interruption logs is sent with the next record at the latest.
    """
    accepted, sent, dropped = run(
        """
        import types
        sys.modules["uwsgi"] = types.SimpleNamespace(has_threads=0)
        logger.info("first")
        passed, calls = 1, 0
        def interrupt(frame, event, argument):
            global passed
            if event == "line" and frame.f_code.co_filename != __file__:
                passed += 1
                if passed == calls:
                    logger.info("line %d", passed)
            return interrupt
        while passed >= calls:
            calls, passed = calls + 1, 0
            sys.settrace(interrupt)
            logger.info("call %d", calls)
            sys.settrace(None)
            logger.info("next")
            assert not handler.stats().waiting, f"stuck since line {calls}"
        account()
        assert calls > 500, calls
        assert handler.stats().accepted == 1 + 2 * calls + calls - 1
        """,
        "plain",
    )
    settle("interrupted at every line, no threads", accepted, sent, dropped)


@pytest.mark.parametrize("settings", SETTINGS)
def test_destructors_that_log(
    run: Callable[..., tuple[int, int, int]],
    settle: Callable[[str, int, int, int], None],
    settings: str,
) -> None:
    """With a garbage collection at nearly every allocation, on whatever thread that falls."""
    accepted, sent, dropped = run(
        """
        died = []
        class Loud:
            def __del__(self):
                logger.info("died %d", len(died))
                died.append(None)
        gc.set_threshold(1)
        calls, end = 0, time.monotonic() + 2.0
        while time.monotonic() < end:
            circle = [Loud()]
            circle.append(circle)
            del circle
            logger.info("call %d", calls, extra={"list": [1, 2, 3]})
            calls += 1
        gc.set_threshold(700)
        collect(lambda: len(died) == calls)
        account()
        assert handler.stats().accepted == 2 * calls
        """,
        settings,
    )
    settle(f"destructors, GC threshold 1, {settings}", accepted, sent, dropped)


def test_weak_references_that_log(
    run: Callable[..., tuple[int, int, int]],
    settle: Callable[[str, int, int, int], None],
) -> None:
    """Callbacks of weak references run like destructors."""
    accepted, sent, dropped = run(
        """
        class Thing:
            pass
        gc.set_threshold(1)
        kept, gone = [], []
        def on_gone(_):
            logger.info("gone")
            gone.append(None)
        for number in range(2_000):
            thing = Thing()
            thing.itself = thing
            kept.append(weakref.ref(thing, on_gone))
            del thing
            logger.info("call %d", number)
        gc.set_threshold(700)
        collect(lambda: len(gone) == 2_000)
        account()
        assert handler.stats().accepted == 4_000
        """,
        "plain",
    )
    settle("weak reference callbacks", accepted, sent, dropped)


def test_arguments_and_filters_that_log(
    run: Callable[..., tuple[int, int, int]],
    settle: Callable[[str, int, int, int], None],
) -> None:
    """Objects whose text is made during the log call may log themselves."""
    accepted, sent, dropped = run(
        """
        class Loud:
            def __str__(self):
                logger.info("asked for my text")
                return "loud"
            __repr__ = __str__
        def loud_filter(record):
            if "quiet" not in record.msg:
                logger.info("quiet: filtering")
            return True
        handler.addFilter(loud_filter)
        for number in range(500):
            logger.warning("%s and %r", Loud(), Loud(), extra={"loud": Loud()})
        account()
        # the filter doubles what is not its own; three texts are made
        assert handler.stats().accepted == 500 * 2 * (1 + 3)
        """,
        "plain",
    )
    settle("arguments and filters that log", accepted, sent, dropped)


def test_handlers_that_log_about_their_own_failure(
    run: Callable[..., tuple[int, int, int]], settle: Callable[[str, int, int, int], None]
) -> None:
    """Others that fail and say so through us, and ours where a filter of the user fails."""
    accepted, sent, dropped = run(
        """
        class Failing(logging.Handler):
            def emit(self, record):
                try:
                    raise OSError("the disk is full")
                except OSError:
                    if not record.msg.startswith("cannot"):
                        logger.exception("cannot write %r", record.msg)
        logger.addHandler(Failing())
        from itertools import count
        calls = count(1)
        def failing_filter(record):
            if next(calls) % 10 == 0:
                raise ValueError("a filter of the user")
            return True
        handler.addFilter(failing_filter)
        def tell(record):  # what a program may put in the place of `handleError`
            logger.error("cannot ship %r", record.msg)
        handler.handleError = tell
        workers = [
            threading.Thread(target=lambda: [logger.info("n %d", n) for n in range(250)])
            for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        account()
        # each call brings a complaint of the other handler, and each failure of the filter one
        number = next(calls) - 1
        assert handler.stats().accepted == number
        assert handler.stats().dropped["record_error"] == number // 10
        assert handler.stats().accepted >= 2_000
        """,
        "plain",
    )
    settle("handlers that log about their own failure", accepted, sent, dropped)


def test_an_argument_that_logs_for_ever_costs_one_record(
    run: Callable[..., tuple[int, int, int]],
) -> None:
    """Endless recursion through a log call ends as it does with any handler, and is survived."""
    accepted, sent, dropped = run(
        """
        class Endless:
            def __str__(self):
                logger.info("again %s", self)
                return "never"
        logging.raiseExceptions = False
        logger.info("%s", Endless())
        logger.info("survived")
        assert handler.flush(5.0)
        account()
        """,
        "plain",
    )
    assert accepted == sent + dropped
    assert accepted >= 1


def test_signals_and_destructors_during_flush_close_and_reconfigure(
    run: Callable[..., tuple[int, int, int]],
    settle: Callable[[str, int, int, int], None],
) -> None:
    """The calls that wait can be interrupted by code that logs, flushes and waits itself."""
    accepted, sent, dropped = run(
        """
        signals = depth = 0
        def on_alarm(number, frame):
            global signals, depth
            signals += 1
            depth += 1
            logger.error("signal %d", signals)
            if signals % 10 == 0 and depth < 5:
                handler.flush(0.05)
            if signals % 50 == 0 and depth < 5:
                handler.reconfigure(batch_size=1 + signals % 7)
            depth -= 1
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        end = time.monotonic() + 2.0
        calls = 0
        while time.monotonic() < end:
            logger.info("call %d", calls)
            calls += 1
            handler.flush(0.05)
            handler.reconfigure(flush_interval=0.1 + calls % 3)
            handler.stats()
        handler.close()
        signal.setitimer(signal.ITIMER_REAL, 0)
        account()
        assert handler.stats().accepted == calls + signals
        """,
        "plain",
    )
    settle("signals during flush, close, reconfigure", accepted, sent, dropped)
