"""Limits that say when something has become much slower, larger or heavier.

    python benchmarks/guard.py

No test of time: nothing here is compared with a clock. Each figure is a ratio of two things of
this run, or a number that does not depend on the machine at all. Processor times are the smallest
of many short interleaved rounds, which is what is left of them on a busy machine, and the limits
are about twice of what was seen when they were set. Ends with status 1 if one is exceeded.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from sink import udp_socket
from suites.receive import captured, cookbook, ours
from work import KINDS

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ROUNDS = 60
CALLS = 250
RECORDS = 2_000
HEAVY = ("asyncio", "http", "ssl", "multiprocessing", "concurrent.futures", "subprocess", "ctypes")


@dataclass(frozen=True, slots=True)
class Check:
    """A figure and what it may not exceed."""

    question: str
    found: float
    limit: float


@contextmanager
def logger_with(handler: logging.Handler) -> Iterator[logging.Logger]:
    """A logger that has just this handler."""
    log = logging.getLogger(f"guard.{type(handler).__name__}")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    yield log
    log.removeHandler(handler)
    handler.close()


@contextmanager
def two_loggers() -> Iterator[tuple[logging.Logger, logging.Logger, BatchUDPHandler]]:
    """One with a handler that wakes its flusher only when asked to; one with a `NullHandler`."""
    with udp_socket() as udp:
        handler = BatchUDPHandler(
            "127.0.0.1",
            udp.getsockname()[1],
            batch_size=CALLS * ROUNDS * 2,
            capacity=CALLS * ROUNDS * 2,
            flush_interval=3_600.0,
            max_datagram_size=1_472,
        )
        with logger_with(handler) as log, logger_with(logging.NullHandler()) as null:
            yield log, null, handler


# --- counted, not timed --------------------------------------------------------------------------


def instructions(function: Callable[[], object]) -> int:
    """Bytecode instructions that this thread runs for it, in Python code of any module."""
    if sys.version_info >= (3, 12):
        return _monitored(function)
    return _traced(function)


def _monitored(function: Callable[[], object]) -> int:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # since 3.12
    count, tool, own = 0, monitoring.PROFILER_ID, threading.get_ident()

    def on_instruction(*_: object) -> None:
        nonlocal count
        count += threading.get_ident() == own  # events come from all threads

    monitoring.use_tool_id(tool, "guard")
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, on_instruction)
    monitoring.set_events(tool, monitoring.events.INSTRUCTION)
    try:
        function()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    return count


def _traced(function: Callable[[], object]) -> int:
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # its type is recursive
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def counted_calls() -> Iterator[Check]:
    """What a call adds to the one with a `NullHandler`, by kind of work."""
    with two_loggers() as (log, null, _):
        for work, limit in (("template", 0.8), ("extras", 1.0)):
            do = KINDS[work]
            do(log, 100)
            base, own = instructions(partial(do, null, 20)), instructions(partial(do, log, 20))
            yield Check(f"instructions of a call over null's ({work})", own / base - 1, limit)


def bytes_on_the_wire() -> Iterator[Check]:
    """Of one record, with values that do not come again."""
    for size, limit in ((1_472, 18.0), (65_507, 16.0)):
        total = sum(map(len, captured("template", RECORDS, size)))
        yield Check(f"bytes a record in datagrams of {size:,}", total / RECORDS, limit)


def heavy_imports() -> Iterator[Check]:
    """Modules that a program which only sends has no use for."""
    code = "import sys, batchudp_handler; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    yield Check("heavy modules that the import brings", sum(h in loaded for h in HEAVY), 0)
    own = sum(name.startswith("batchudp_handler") for name in loaded)
    yield Check("modules of our own that the import brings", own, 100)


# --- ratios of processor times -------------------------------------------------------------------


def least(clock: Callable[[], float], *functions: Callable[[], object]) -> list[float]:
    """The smallest time of each, over interleaved rounds."""
    best = [float("inf")] * len(functions)
    for _ in range(ROUNDS):
        for number, function in enumerate(functions):
            before = clock()
            function()
            best[number] = min(best[number], clock() - before)
    return best


def times_of_calls() -> Iterator[Check]:
    """The caller's part, and that of the whole process with encoding and sending."""
    template = KINDS["template"]
    with two_loggers() as (log, null, handler):
        template(log, 1_000)
        handler.flush(60.0)
        base, call = partial(template, null, CALLS), partial(template, log, CALLS)

        def ship() -> None:
            call()
            handler.flush(60.0)

        spent = least(time.thread_time, base, call)
        yield Check("caller's CPU over null's", spent[1] / spent[0] - 1, 1.0)
        handler.flush(60.0)
        spent = least(time.process_time, base, ship)
        yield Check("whole process's CPU over null's", spent[1] / spent[0] - 1, 3.0)


def times_of_receiving() -> Iterator[Check]:
    """Decoding and handing over, beside the cookbook's receiver."""
    logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])
    spent = least(time.process_time, cookbook("template", 500), ours("template", 500, 1_472))
    yield Check("CPU of receiving, in cookbook receivers", spent[1] / spent[0], 0.8)


def main() -> int:
    """Look at all of them."""
    status = 0
    groups = (counted_calls, bytes_on_the_wire, heavy_imports, times_of_calls, times_of_receiving)
    for group in groups:
        for check in group():
            is_well = check.found <= check.limit
            status |= not is_well
            word = "ok" if is_well else "TOO MUCH"
            print(f"{check.question:52} {check.found:8.2f}  limit {check.limit:6.2f}  {word}")
    return status


if __name__ == "__main__":
    sys.exit(main())
