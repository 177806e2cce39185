"""The far side, when whole pipelines are measured.

A process that feeds records into local logging: with this package's receiver, or with the socket
receiver that the logging cookbook describes, a threading TCP server that unpickles. Both hand
the records to the same handler, which counts them and passes them on.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import pickle
import socketserver
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from batchudp_handler import BatchUDPReceiver
from batchudp_handler.console import TextFormatter
from batchudp_handler.outputs.file import FileTarget
from batchudp_handler.outputs.output import Counters, Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s %(message)s"
ROTATED_FILES = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the process did since it was told what to expect."""

    delivered: int
    last: float
    """On the clock that all processes share, when the last record was handled."""
    cpu: float
    kernel_drops: int


class FarSide:
    """The process, its port, and the question of what has arrived.

    Args:
        kind: ``"batchudp"``, ``"cookbook"``, or ``"script"``: with the file output that
            `batchudp-receive --output` uses, which writes whole batches.
        output: ``"null"``, ``"file"``, or ``"rotating:1000000"`` with the size of a file.
        path: The file.
    """

    port: int

    def __init__(self, kind: str, output: str, path: str = "", key_file: str = "") -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, kind, output, path, key_file), daemon=True
        )

    def __enter__(self) -> Self:
        """Start, and learn the port."""
        self._process.start()
        self.port = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, when all that came has been handled."""
        self._pipe.send(None)
        self._process.join(30)

    def expect(self, records: int) -> None:
        """Start to count."""
        self._pipe.send(records)
        self._pipe.recv()

    def outcome(self, timeout: float) -> Outcome:
        """Wait until all are there, or nothing more can be expected."""
        self._pipe.send(timeout)
        found: Outcome = self._pipe.recv()
        return found


class Counting(logging.Handler):
    """Counts records, and hands them on."""

    def __init__(self, inner: logging.Handler) -> None:
        super().__init__()
        self._inner = inner
        self._counting = threading.Lock()
        self.is_complete = threading.Event()
        self.expect(0)

    def expect(self, records: int) -> None:
        """Begin at zero."""
        self.count, self._expected, self.last = 0, records, 0.0
        self.is_complete.clear()

    def handle(self, record: logging.LogRecord) -> bool:
        """As `logging.Handler.handle`, without a second lock around it."""
        self._inner.handle(record)
        with self._counting:
            self.count += 1
            if not self.count % 100 or self.count == self._expected:
                self.last = time.perf_counter()
            if self.count == self._expected:
                self.is_complete.set()
        return True


class CookbookServer(socketserver.ThreadingTCPServer):
    """One thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class _CookbookHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while True:
            length = self.rfile.read(4)
            if len(length) < 4:
                return
            handle_pickle(self.rfile.read(int.from_bytes(length, "big")))


def handle_pickle(data: bytes) -> None:
    """What that receiver does with each record."""
    record = logging.makeLogRecord(pickle.loads(data))
    logging.getLogger(record.name).handle(record)


def output_handler(output: str, path: str) -> logging.Handler:
    """Where records end."""
    if output == "null":
        return logging.NullHandler()
    _, _, size = output.partition(":")
    handler: logging.Handler = logging.FileHandler(path) if not size else rotating(path, int(size))
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler


def rotating(path: str, size: int) -> logging.Handler:
    """The standard library's."""
    return logging.handlers.RotatingFileHandler(path, maxBytes=size, backupCount=ROTATED_FILES)


def script_output(output: str, path: str) -> logging.Handler:
    """The script's own file output."""
    size = output.partition(":")[2]
    target = FileTarget(path, max_bytes=int(size or 0), backups=ROTATED_FILES)
    handler = Output(target, counters=Counters(), give_up=lambda _: False, tell=logging.log)
    handler.setFormatter(TextFormatter(FORMAT))
    return handler


def _run(pipe: Connection[Any, Any], kind: str, output: str, path: str, key_file: str) -> None:
    inner = (script_output if kind == "script" else output_handler)(output, path)
    counting = Counting(inner)
    logging.basicConfig(level=logging.DEBUG, handlers=[counting])
    logging.getLogger("batchudp").propagate = False  # what the receiver itself has to say
    if kind != "cookbook":
        keys = (key_file,) if key_file else ()
        with BatchUDPReceiver("127.0.0.1", 0, key_file=keys, after_batch=inner.flush) as receiver:
            _answer(pipe, receiver.address[1], counting, lambda: receiver.stats().kernel_drops)
        return
    with CookbookServer(("127.0.0.1", 0), _CookbookHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _answer(pipe, server.server_address[1], counting, lambda: 0)
        server.shutdown()


def _answer(
    pipe: Connection[Any, Any],
    port: int,
    counting: Counting,
    kernel_drops: Callable[[], int | None],
) -> None:
    pipe.send(port)
    cpu, drops = 0.0, 0
    while (asked := pipe.recv()) is not None:
        if isinstance(asked, int):
            counting.expect(asked)
            cpu, drops = time.process_time(), kernel_drops() or 0
            pipe.send(True)
            continue
        counting.is_complete.wait(asked)
        spent, lost = time.process_time() - cpu, (kernel_drops() or 0) - drops
        pipe.send(Outcome(counting.count, counting.last, spent, lost))
