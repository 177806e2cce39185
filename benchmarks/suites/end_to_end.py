"""Records per second from one process into another one's logging.

From the first call in the sending process to the moment when the last record was handled in the
receiving one, by the clock; and the processor time of both processes per record. A handler with a
full buffer holds the caller, so nothing is dropped on the sending side.
"""

from __future__ import annotations

import logging
import logging.handlers
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import in_child, interleaved, medians
from receivers import FarSide
from work import KINDS

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab import Plan, Row

WARM_UP = 1_000
PIPELINES = {
    "SocketHandler, cookbook receiver": "cookbook",
    "batchudp one-way": "batchudp",
    "batchudp acknowledged": "batchudp",
}
OUTPUTS = ("null", "file")


def handler_for(pipeline: str, port: int) -> logging.Handler:
    """The sending end."""
    if pipeline.startswith("SocketHandler"):
        return logging.handlers.SocketHandler("127.0.0.1", port)
    return BatchUDPHandler(
        "127.0.0.1",
        port,
        batch_size=500,
        overflow="block",
        overflow_timeout=60.0,
        shutdown_timeout=60.0,
        delivery="acknowledged" if pipeline.endswith("acknowledged") else "one_way",
    )


def send(pipeline: str, port: int, count: int) -> dict[str, float]:
    """Log, and say when it began and what it cost."""
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler := handler_for(pipeline, port))
    KINDS["template"](log, WARM_UP)
    handler.flush()
    cpu, start = time.process_time(), time.perf_counter()
    KINDS["template"](log, count)
    caller = time.perf_counter() - start
    handler.close()
    spent = time.process_time() - cpu
    return {"start": start, "caller": 1e6 * caller / count, "sender_cpu": 1e6 * spent / count}


def measure(pipeline: str, output: str, count: int, folder: str) -> dict[str, float]:
    """One run through one pipeline."""
    path = str(Path(folder) / f"{time.monotonic_ns()}.log")
    with FarSide(PIPELINES[pipeline], output, path) as far:
        far.expect(count + WARM_UP)
        sent = in_child(send, pipeline=pipeline, port=far.port, count=count)
        got = far.outcome(5.0)
    delivered = max(1, got.delivered - WARM_UP)
    return {
        "rate": delivered / (got.last - sent["start"]),
        "caller": sent["caller"],
        "sender_cpu": sent["sender_cpu"],
        "receiver_cpu": 1e6 * got.cpu / got.delivered if got.delivered else 0.0,
        "delivered": got.delivered / (count + WARM_UP),
        "kernel_drops": got.kernel_drops,
    }


def run(plan: Plan) -> list[Row]:
    """Each pipeline into each output."""
    count = plan.records_of(50_000, 200_000)
    cases = [(output, pipeline) for output in OUTPUTS for pipeline in PIPELINES]
    with tempfile.TemporaryDirectory() as folder:

        def one(case: tuple[str, str]) -> Mapping[str, float]:
            return measure(case[1], case[0], count, folder)

        seen = interleaved(plan.rounds_of(3, 5), cases, one)
    rows: list[Row] = []
    for (output, pipeline), figures in seen.items():
        own = {name: round(value, 4) for name, value in medians(figures).items()}
        beside = medians(seen[output, "SocketHandler, cookbook receiver"])["rate"]
        rows.append(
            {
                "output": output,
                "pipeline": pipeline,
                **own,
                "faster": round(own["rate"] / beside, 2),
            }
        )
    return rows
