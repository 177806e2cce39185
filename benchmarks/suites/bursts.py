"""The cost of a record in a large burst, and the memory that a burst takes.

Calls as fast as they come, with two capacities: the default, where the oldest records make room
and are counted, and one that holds them all. Processor time of the whole process per record over
the same calls with a `NullHandler`, and the most memory in use during the burst over what was in
use before it.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import TYPE_CHECKING, Any

from lab import forget_peak, in_child, interleaved, medians, resident
from peers import BASELINE, PEERS, Target
from sink import Sink
from work import KINDS

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab import Plan, Row

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUEUE = "QueueHandler + DatagramHandler"
OURS_DEFAULT = "batchudp, default capacity"
OURS_LARGE = "batchudp, room for all"


def measure(name: str, count: int, target: Mapping[str, Any]) -> dict[str, float]:
    """One burst."""
    finish, handler = _attach(name, Target(**{**target, "records": count}))
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    do = KINDS["template"]
    do(log, 1_000)
    handler.flush()
    gc.collect()
    forget_peak()
    before, cpu = resident(), time.process_time()
    do(log, count)
    finish()
    spent = time.process_time() - cpu
    peak = resident("VmHWM")
    dropped = 0
    if isinstance(handler, BatchUDPHandler):
        dropped = sum(handler.stats().dropped.values())
    return {"cpu": 1e6 * spent / count, "memory": peak - before, "dropped": dropped}


def _attach(name: str, target: Target) -> tuple[Any, logging.Handler]:
    if name == OURS_DEFAULT:
        handler = BatchUDPHandler("127.0.0.1", target.ports["udp"], shutdown_timeout=60.0)
        return handler.close, handler
    attached = PEERS["batchudp" if name == OURS_LARGE else name](target)
    return attached.finish, attached.handler


def run(plan: Plan) -> list[Row]:
    """Every size of burst."""
    cases = [
        (size, name)
        for size in SIZES
        for name in (BASELINE, QUEUE, OURS_DEFAULT, OURS_LARGE)
        if plan.full or not (name == QUEUE and size == SIZES[-1])
    ]
    with Sink() as sink:
        target = {"ports": sink.ports}

        def one(case: tuple[int, str]) -> Mapping[str, float]:
            found: dict[str, float] = in_child(measure, count=case[0], name=case[1], target=target)
            return found

        small = [case for case in cases if case[0] < SIZES[-1]]
        seen = interleaved(plan.rounds_of(2, 5), small, one)
        large = [case for case in cases if case[0] == SIZES[-1]]
        seen |= interleaved(plan.pick(1, 3), large, one)
    return [_row(case, medians(f), seen) for case, f in seen.items() if case[1] != BASELINE]


def _row(case: tuple[int, str], own: Mapping[str, float], seen: Mapping[Any, Any]) -> Row:
    null = medians(seen[case[0], BASELINE])
    return {
        "records": case[0],
        "handler": case[1],
        "cpu_over_null": round(own["cpu"] - null["cpu"], 3),
        "null": round(null["cpu"], 3),
        "memory_mb": round(own["memory"] / 1e6, 1),
        "dropped": round(own["dropped"]),
    }
