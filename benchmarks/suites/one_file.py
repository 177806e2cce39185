"""Four processes that write one rotating file.

Every process logs as fast as it can; the time runs from the moment when all of them start until
the last line is in a file. Then the lines in all files are counted: those that are missing, or are
there in pieces, are lost. The files that are kept have room for half as much again.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import in_child, interleaved, medians, say
from receivers import FORMAT, ROTATED_FILES, FarSide, output_handler

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.synchronize import Barrier

    from lab import Plan, Row

PROCESSES = 4
LINE_BYTES = 85
LINE = re.compile(r"(?m)^\S+ \S+ INFO \d+ benchmark order (\d-\d+) of shop-12 paid in 7 ms$")


@dataclass(frozen=True, slots=True)
class Way:
    """What each of the processes attaches; made in the process itself."""

    name: str
    path: str
    size: int
    port: int = 0
    queue: Any = None

    def handler(self) -> logging.Handler:
        """By name."""
        return getattr(self, "_" + WAYS[self.name])()  # type: ignore[no-any-return]  # see below

    def _shared(self) -> logging.Handler:
        return output_handler(f"rotating:{self.size}", self.path)

    def _locked(self) -> logging.Handler:
        from concurrent_log_handler import ConcurrentRotatingFileHandler

        handler: logging.Handler = ConcurrentRotatingFileHandler(
            self.path, maxBytes=self.size, backupCount=ROTATED_FILES
        )
        handler.setFormatter(logging.Formatter(FORMAT))
        return handler

    def _queued(self) -> logging.Handler:
        return logging.handlers.QueueHandler(self.queue)

    def _socket(self) -> logging.Handler:
        return logging.handlers.SocketHandler("127.0.0.1", self.port)

    def _ours(self) -> logging.Handler:
        return BatchUDPHandler(
            "127.0.0.1",
            self.port,
            batch_size=500,
            delivery="acknowledged",
            overflow="block",
            overflow_timeout=60.0,
            shutdown_timeout=60.0,
        )

    _script = _ours


WAYS = {
    "RotatingFileHandler in each process": "shared",
    "concurrent-log-handler": "locked",
    "multiprocessing queue + QueueListener": "queued",
    "SocketHandler, cookbook receiver": "socket",
    "batchudp acknowledged, RotatingFileHandler": "ours",
    "batchudp acknowledged, batchudp-receive --output": "script",
}
COMPARED = ("concurrent-log-handler", "multiprocessing queue + QueueListener")
FAR = {"socket": "cookbook", "ours": "batchudp", "script": "script"}


def log_in_process(way: Way, number: int, count: int, start: Barrier, done: Any) -> None:
    """One of the four."""
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler := way.handler())
    start.wait()
    began, cpu = time.perf_counter(), time.process_time()
    for each in range(count):
        log.info("order %s of %s paid in %d ms", f"{number}-{each}", "shop-12", 7)
    caller = time.perf_counter() - began
    handler.close()
    if way.queue is not None:
        way.queue.close()
        way.queue.join_thread()
    done.put((began, time.perf_counter(), 1e6 * caller / count, time.process_time() - cpu))


@contextmanager
def surroundings(name: str, path: str, total: int, ended: list[float]) -> Iterator[Way]:
    """Whatever else must run; when it ends, all lines are in the file."""
    kind, size = WAYS[name], total * LINE_BYTES * 3 // (2 * ROTATED_FILES)
    if kind in FAR:
        with FarSide(FAR[kind], f"rotating:{size}", path) as far:
            far.expect(total)
            yield Way(name, path, size, port=far.port)
            ended.append(far.outcome(20.0).last)
    elif kind == "queued":
        queue = multiprocessing.get_context("spawn").Queue()
        inner = output_handler(f"rotating:{size}", path)
        listener = logging.handlers.QueueListener(queue, inner)
        listener.start()
        yield Way(name, path, size, queue=queue)
        listener.stop()
        inner.close()
    else:
        yield Way(name, path, size)


def measure(name: str, count: int, folder: str) -> dict[str, float]:
    """Start the four, wait for the files, count the lines."""
    path, total = Path(folder) / "shop.log", PROCESSES * count
    ended: list[float] = []
    with surroundings(name, str(path), total, ended) as way:
        told = _run_processes(way, count)
    ended.append(time.perf_counter())
    found = _lines(path.parent)
    return {
        "rate": len(found) / (ended[0] - min(each[0] for each in told)),
        "caller": sum(each[2] for each in told) / PROCESSES,
        "cpu": 1e6 * sum(each[3] for each in told) / total,
        "lost": total - len(found),
    }


def _run_processes(way: Way, count: int) -> list[tuple[float, float, float, float]]:
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=log_in_process, args=(way, number, count, start, done))
        for number in range(PROCESSES)
    ]
    for each in processes:
        each.start()
    told = [done.get() for _ in processes]
    for each in processes:
        each.join()
    return told


def _lines(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("shop.log*"):
        found.update(LINE.findall(path.read_text("utf-8", errors="replace")))
    return found


def run(plan: Plan) -> list[Row]:
    """Each way, on the same number of records."""
    count = plan.records_of(10_000, 40_000)
    names = [name for name in WAYS if _is_installed(name)]

    def one(name: str) -> Mapping[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, float] = in_child(measure, name=name, count=count, folder=folder)
            return found

    seen = interleaved(plan.rounds_of(2, 5), names, one)
    rows: list[Row] = []
    for name, figures in seen.items():
        own = medians(figures)
        worst = max(f["lost"] for f in figures)
        rows.append({"way": name, "logged": PROCESSES * count, **own, "lost": worst})
    best = max(r["rate"] for r in rows if r["way"] in COMPARED)
    for row in rows:
        row["faster"] = round(row["rate"] / best, 2)
    return rows


def _is_installed(name: str) -> bool:
    try:
        if name == "concurrent-log-handler":
            import concurrent_log_handler  # noqa: F401  # only whether it is there
    except ImportError as error:
        say(f"  {name}: left out ({error})")
        return False
    return True
