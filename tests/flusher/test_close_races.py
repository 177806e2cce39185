"""Starts, flushes, closes and signals that meet: one machine, one close, full books, an end."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.testing.collector import DatagramCollector

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 40
WORKERS = 8
RECORDS = 3


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
def test_everything_is_counted_when_the_last_close_returns() -> None:
    """Eight threads log, flush and close at once: no record is left over, or counted twice."""
    record = logging.makeLogRecord({"msg": "x", "levelno": logging.INFO})
    with DatagramCollector() as collector:
        for _ in range(ROUNDS):
            handler = BatchUDPHandler(*collector.address, shutdown_timeout=10.0)
            _log_flush_close(handler, record)
            stats = handler.stats()
            assert (stats.accepted, stats.waiting) == (WORKERS * RECORDS, 0)
            assert stats.sent + sum(stats.dropped.values()) == stats.accepted


def _log_flush_close(handler: BatchUDPHandler, record: logging.LogRecord) -> None:
    together = threading.Barrier(WORKERS)

    def work() -> None:
        together.wait()
        for _ in range(RECORDS):
            handler.handle(record)
            handler.flush(10.0)
        handler.close()

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60.0)
        assert not worker.is_alive()


SERVING = """
import _thread, faulthandler, signal, threading, time
from batchudp_handler import BatchUDPReceiver
faulthandler.dump_traceback_later(90, exit=True)
receiver = BatchUDPReceiver("127.0.0.1", 0)
signal.signal(signal.SIGTERM, lambda *_: receiver.shutdown())
is_waiting = threading.Event()
wait = receiver._socket.wait

def announced(timeout):
    is_waiting.set()
    wait(timeout)

receiver._socket.wait = announced

def interrupt():
    is_waiting.wait()
    time.sleep(0.5)  # by then it is in the system call
    _thread.interrupt_main(signal.SIGTERM)  # notes the signal and interrupts no system call

threading.Thread(target=interrupt, daemon=True).start()
receiver.serve_forever()
print("ended")
"""


def test_a_signal_just_before_the_wait_ends_the_receiver() -> None:
    """One that the interpreter has noted, and the system call has not, is not left for ever."""
    done = subprocess.run(
        [sys.executable, "-c", SERVING], capture_output=True, text=True, timeout=110, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
