"""A receiver may be closed from anywhere: it returns promptly, and never waits for itself."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.receiver.latch import Latch
from tests.receiver.bench import Collector, connected, entry
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PROMPT = 2.0
"""Seconds; far below `shutdown_timeout` in these tests."""
SHUTDOWN = 60.0


class Calling(logging.Handler):
    """A handler that calls something for each record."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self.function = function
        self.took: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        begun = time.monotonic()
        self.function()
        self.took.append(time.monotonic() - begun)


@contextmanager
def calling(function: Callable[[], object], logger: str = "") -> Iterator[Calling]:
    handler = Calling(function)
    logging.getLogger(logger).addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger(logger).removeHandler(handler)


ENDS = {
    "close": lambda receiver: receiver.close(),
    "shutdown": lambda receiver: receiver.shutdown(),
    "stats": lambda receiver: receiver.stats(),
    "twice": lambda receiver: (receiver.close(), receiver.close()),
    "exit": lambda receiver: receiver.__exit__(None, None, None),
    "log": lambda receiver: logging.getLogger("other").debug("from a handler"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_from_a_local_handler(
    end: Callable[[BatchUDPReceiver], object], collected: Collector
) -> None:
    """A handler that ends the receiver it is called by does not wait for itself."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=SHUTDOWN)
    log = logging.getLogger("other")
    log.propagate = False
    try:
        with receiver, connected(receiver.address) as plain, calling(lambda: end(receiver)) as own:
            plain.send(entry("the last"))
            wait_until(lambda: own.took)
            begun = time.monotonic()
        assert time.monotonic() - begun < PROMPT
    finally:
        log.propagate = True
    assert own.took[0] < PROMPT
    assert receiver.stats().delivered == 1


def test_from_a_handler_the_socket_is_closed_in_the_end(collected: Collector) -> None:
    """Nobody else need close it: the serving thread does, when it has finished."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=SHUTDOWN)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    with connected(receiver.address) as plain, calling(receiver.close):
        plain.send(entry("the last"))
        thread.join(PROMPT)
    assert not thread.is_alive()
    with BatchUDPReceiver(*receiver.address):  # its port is free
        pass


def test_from_the_reader(collected: Collector) -> None:
    """A function on the reading thread may close."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=SHUTDOWN)
    begun = time.monotonic()
    with receiver:
        receiver.call_on_reader(receiver.close)
        receiver.call_between_batches(receiver.close)
        wait_until(lambda: "batchudp-receiver" not in {t.name for t in threading.enumerate()})
    assert time.monotonic() - begun < PROMPT


def test_from_a_handler_of_its_own_messages(collected: Collector) -> None:
    """The last message is written while it ends; a handler of it may close once more."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=SHUTDOWN)
    with calling(receiver.close, "batchudp.receiver") as own:
        with receiver, connected(receiver.address) as plain:
            plain.send(b"\xcb\xf2\x00[5]")
            wait_until(lambda: receiver.stats().rejected)
        wait_until(lambda: own.took)
    assert max(own.took) < PROMPT


def test_from_many_threads_at_once(collected: Collector) -> None:
    """All of them return, and the port is free when the first has."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=SHUTDOWN)
    with receiver:
        threads = [threading.Thread(target=receiver.close) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PROMPT)
        assert not any(thread.is_alive() for thread in threads)


def test_before_it_served(collected: Collector) -> None:
    """A receiver that never ran is closed at once."""
    BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=SHUTDOWN).close()


def test_a_handler_that_hangs_is_left_behind(collected: Collector) -> None:
    """`close` takes `shutdown_timeout` and little more."""
    release = threading.Event()
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=0.2)
    with calling(lambda: release.wait(60)):
        with receiver, connected(receiver.address) as plain:
            plain.send(entry("hangs"))
            wait_until(lambda: receiver.stats().pending or receiver.stats().queued_bytes)
            begun = time.monotonic()
        assert time.monotonic() - begun < PROMPT
        release.set()


PROGRAM = """
import atexit, logging, os, signal, sys, threading, time
from batchudp_handler import BatchUDPReceiver

receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=60)
{body}
"""

SIGNAL_IN_BACKGROUND = """
receiver.__enter__()
signal.signal(signal.SIGTERM, lambda *_: receiver.close())
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
deadline = time.monotonic() + 30
while receiver._background.is_alive():
    receiver.stats()  # interrupted, as likely as not, while it holds the lock
    assert time.monotonic() < deadline
"""

SIGNAL_WHILE_SERVING = """
signal.signal(signal.SIGTERM, lambda *_: receiver.close())
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
receiver.serve_forever()
receiver.close()
"""

SIGNAL_WHILE_CLOSING = """
slow = logging.Handler()
slow.emit = lambda record: time.sleep(1)
logging.getLogger().addHandler(slow)
receiver.__enter__()
signal.signal(signal.SIGTERM, lambda *_: receiver.close())
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
    plain.sendto(b'{"message": "m", "level": "error"}', receiver.address)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
receiver.close()
"""

INTERRUPT_WHILE_SERVING = """
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    receiver.serve_forever()
except KeyboardInterrupt:
    receiver.close()
else:
    raise SystemExit("it was not interrupted")
"""

ATEXIT = """
receiver.__enter__()
atexit.register(receiver.close)
atexit.register(receiver.close)
"""

DESTRUCTOR = """
class Owner:
    def __del__(self):
        receiver.close()

receiver.__enter__()
owner = Owner()
"""


@pytest.mark.parametrize(
    "body",
    [
        SIGNAL_IN_BACKGROUND,
        SIGNAL_WHILE_SERVING,
        SIGNAL_WHILE_CLOSING,
        INTERRUPT_WHILE_SERVING,
        ATEXIT,
        DESTRUCTOR,
    ],
    ids=["background", "serving", "closing", "interrupt", "atexit", "destructor"],
)
def test_from_the_ends_of_a_program(body: str) -> None:
    """Signal handlers, `atexit` and destructors may close; the program ends at once."""
    program = PROGRAM.replace("{body}", body)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert time.monotonic() - begun < 20


# --- the latch ---------------------------------------------------------------------------------


def test_a_latch_lets_everybody_go() -> None:
    """Many wait, one sets, all go, and later ones do not wait."""
    latch = Latch()
    assert not latch.is_set_within(0.0)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(latch.is_set_within(30))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    latch.set()
    latch.set()
    for thread in threads:
        thread.join(30)
    assert results == [True] * 20
    assert latch.is_set_within(0.0)


def test_a_latch_may_be_waited_for_by_a_signal_handler() -> None:
    """Interrupted anywhere in a wait, a second wait of the same thread ends, too."""
    latch = Latch()
    inner: list[bool] = []

    def handle(number: int, frame: object) -> None:
        inner.append(latch.is_set_within(10))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        threading.Timer(0.3, latch.set).start()
        assert latch.is_set_within(10)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert inner == [True]
