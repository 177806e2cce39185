"""How long one logging call can take, when calls come at a steady rate.

The clock is read before and after each call. Between calls the program sleeps, so that whatever
runs in the background gets its turn, and may hold the interpreter when the next call wants it.
Once on all cores, and once pinned to one, where background work runs instead of the caller. Of the
rounds, each percentile is the smallest: other programs can only make it longer.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import TYPE_CHECKING

from lab import in_child, interleaved
from peers import BASELINE, PEERS, Target, missing
from sink import Sink
from work import DISTINCT, ORDERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab import Plan, Row

NAMES = (
    BASELINE,
    "SocketHandler",
    "QueueHandler + DatagramHandler",
    "python-logstash-async",
    "fluent-logger",
    "OpenTelemetry",
    "batchudp",
    "batchudp batch=500",
    "batchudp acknowledged",
)
QUICK = frozenset(NAMES) - {"fluent-logger", "batchudp batch=500"}
MODES = ((2_000, False), (20_000, False), (20_000, True))
"""Calls per second, and whether on one core only."""


def measure(peer: str, rate: int, pinned: bool, target: Mapping[str, object]) -> dict[str, float]:
    """Percentiles of the calls' times, in microseconds."""
    if pinned:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    aim = Target(**target)  # type: ignore[arg-type]  # what `job` has put into JSON
    attached = PEERS[peer](aim)
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(attached.handler)
    paced(log, rate, rate // 5)
    gc.collect()
    took = sorted(paced(log, rate, aim.records))
    attached.finish()
    return {
        "p50": 1e6 * took[len(took) // 2],
        "p99": 1e6 * took[len(took) * 99 // 100],
        "p999": 1e6 * took[len(took) * 999 // 1000],
        "max": 1e6 * took[-1],
    }


def paced(log: logging.Logger, rate: int, count: int) -> list[float]:
    """`count` calls at the rate; when one is late, the next ones catch up."""
    clock, info, took = time.perf_counter, log.info, [0.0] * count
    start = clock()
    for number in range(count):
        order = ORDERS[number % DISTINCT]
        early = start + number / rate - clock()
        if early > 0:
            time.sleep(early)
        before = clock()
        info("order %s of %s paid: %.2f in %d ms", *order)
        took[number] = clock() - before
    return took


def run(plan: Plan) -> list[Row]:
    """Every handler at every rate."""
    absent = missing(NAMES)
    names = [n for n in NAMES if n not in absent and (plan.full or plan.peers or n in QUICK)]
    names = [BASELINE, *(n for n in plan.peers_of(names) if n != BASELINE)]
    cases = [(peer, *mode) for mode in MODES for peer in names]
    with Sink() as sink:

        def one(case: tuple[str, int, bool]) -> Mapping[str, float]:
            peer, rate, pinned = case
            count = plan.records_of(rate // 2 + 3_000, 5 * rate)
            target = {"ports": sink.ports, "records": count, "key_file": sink.key_file}
            found: dict[str, float] = in_child(
                measure, peer=peer, rate=rate, pinned=pinned, target=target
            )
            return found

        seen = interleaved(plan.rounds_of(3, 5), cases, one)
    rows = [_row(case, figures) for case, figures in seen.items()]
    null = {(r["rate"], r["cores"]): r["p999"] for r in rows if r["peer"] == BASELINE}
    for row in rows:
        row["p999_over_null"] = round(row["p999"] / null[row["rate"], row["cores"]], 2)
    return rows


def _row(case: tuple[str, int, bool], figures: Sequence[Mapping[str, float]]) -> Row:
    peer, rate, pinned = case
    cores = "one" if pinned else "all"
    least = {name: round(min(f[name] for f in figures), 1) for name in figures[0]}
    return {"rate": rate, "cores": cores, "peer": peer, **least}
