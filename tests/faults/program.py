"""A process that tests start: it logs records that are counted afterwards.

Its argument is a JSON object with the fields of `Plan`. Each report on its standard output is a
line of JSON: the counters of all its handlers and, at the end, whether `flush` said yes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from random import Random

from batchudp_handler import BatchUDPHandler

REPORT_INTERVAL = 0.02
PORTION_SECONDS = 0.02
WORDS = ("order", "paid", "login", "failed", "request", "took", "queue", "retry", "cache", "miss")

_one_at_a_time = threading.Lock()
_is_told_to_end = threading.Event()


@dataclass
class Plan:
    """What is logged, how fast, and through which handlers."""

    host: str
    port: int
    runs: list[str]
    """A handler, with a stream of its own, for each."""
    count: int | None
    """Records of each run; None: until its standard input ends."""
    first: int = 0
    size: int = 330
    """About how many characters a record has."""
    rate: float = 0.0
    """Records of each run per second; 0: as fast as can be."""
    is_told_to_end: bool = False
    """Goes on living, with its handlers open, until its standard input ends."""
    is_flushed: bool = True
    flush_timeout: float = 300.0
    settings: dict[str, object] = field(default_factory=dict)


def text_of(run: str, number: int, size: int) -> str:
    """The text of a record: the same wherever it is made, and of its own length."""
    random = Random(f"{run}/{number}")
    length = random.randrange(size * 3 // 5, size * 7 // 5)
    words = " ".join(random.choices(WORDS, k=length // 6 + 1))
    return f"{random.getrandbits(64):016x} {words}"[: max(length, 16)]


def digest_of(text: str) -> str:
    """What shows that a text arrived as it was."""
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Log everything, flush, close, and report."""
    plan = Plan(**json.loads(sys.argv[1]))
    handlers = [_make_handler(plan) for _ in plan.runs]
    threading.Thread(target=_wait_for_the_end, daemon=True).start()
    if plan.is_told_to_end:
        threading.Thread(target=_report_for_ever, args=(handlers,), daemon=True).start()
    began = time.monotonic()
    _log_all(plan, [_logger(run, each) for run, each in zip(plan.runs, handlers, strict=True)])
    if plan.is_told_to_end:
        _is_told_to_end.wait()
    flushed = plan.is_flushed and all(each.flush(plan.flush_timeout) for each in handlers)
    seconds = time.monotonic() - began
    _report(handlers, flushed=flushed)
    for each in handlers:
        each.close()
    _report(handlers, flushed=flushed, seconds=seconds)


def _make_handler(plan: Plan) -> BatchUDPHandler:
    settings: dict[str, object] = {
        "delivery": "acknowledged",
        "overflow": "block",
        "overflow_timeout": None,
        "batch_size": 100,
        "max_datagram_size": 1_400,
        "shutdown_timeout": 60.0,
        **plan.settings,
    }
    return BatchUDPHandler(plan.host, plan.port, **settings)  # type: ignore[arg-type]  # from JSON


def _logger(run: str, handler: BatchUDPHandler) -> logging.Logger:
    log = logging.getLogger(run)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(handler)
    return log


def _log_all(plan: Plan, loggers: list[logging.Logger]) -> None:
    began = time.monotonic()
    for number in itertools.count(plan.first):
        if _is_enough(plan, number - plan.first):
            return
        if plan.rate:
            due = began + (number - plan.first) / plan.rate
            if due - time.monotonic() > PORTION_SECONDS:
                time.sleep(PORTION_SECONDS)
        for log in loggers:
            text = text_of(log.name, number, plan.size)
            log.info("%s %d %s %s", log.name, number, digest_of(text), text)


def _is_enough(plan: Plan, logged: int) -> bool:
    return _is_told_to_end.is_set() if plan.count is None else logged == plan.count


def _wait_for_the_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):  # without the lock that sys.stdin.read would hold
        pass
    _is_told_to_end.set()


def _report_for_ever(handlers: list[BatchUDPHandler]) -> None:
    while True:
        _report(handlers)
        time.sleep(REPORT_INTERVAL)


def _report(handlers: list[BatchUDPHandler], **more: object) -> None:
    stats = [asdict(each.stats()) for each in handlers]
    line = json.dumps({"stats": stats, **more}) + "\n"
    with _one_at_a_time:  # the reporter's line must not end up within the last one
        # `print` locks the stream; an interpreter that ends meanwhile would die of it
        os.write(sys.stdout.fileno(), line.encode())


if __name__ == "__main__":
    main()
