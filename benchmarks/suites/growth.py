"""What changes with many threads, and with many sending processes.

Threads: as in `cost`, with the calls divided among them. Processes: each with a handler of its own
that wants acknowledgements, all sending to one receiver that ends in a `NullHandler`.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from typing import TYPE_CHECKING, Any

from lab import in_child, interleaved, medians
from peers import BASELINE, PEERS, Target
from receivers import FarSide
from sink import Sink
from work import KINDS

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.synchronize import Barrier

    from lab import Plan, Row

THREADS = (1, 8, 32)
SENDERS = (1, 8, 64)
NAMES = (BASELINE, "SocketHandler", "QueueHandler + DatagramHandler", "batchudp batch=500")


def in_threads(name: str, threads: int, target: Mapping[str, Any]) -> dict[str, float]:
    """The calls of all threads, from the start of the first to the end of the last."""
    aim = Target(**target)
    attached = PEERS[name](aim)
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(attached.handler)
    do = KINDS["template"]
    do(log, 2_000)
    attached.handler.flush()
    share = aim.records // threads
    workers = [threading.Thread(target=do, args=(log, share)) for _ in range(threads)]
    cpu, clock = time.process_time(), time.perf_counter()
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    caller = time.perf_counter() - clock
    attached.finish()
    spent = time.process_time() - cpu
    scale = 1e6 / (share * threads)
    return {"caller": caller * scale, "process_cpu": spent * scale}


def in_processes(senders: int, records: int, port: int) -> float:
    """Start all of them at one moment, and say when that was."""
    context = multiprocessing.get_context("fork")
    start, began = context.Barrier(senders), context.SimpleQueue()
    args = (port, records // senders, start, began)
    processes = [context.Process(target=_send, args=args) for _ in range(senders)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    first: float = min(began.get() for _ in processes)
    return first


def _send(port: int, count: int, start: Barrier, began: Any) -> None:
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = BatchUDPHandler(
        "127.0.0.1",
        port,
        batch_size=500,
        delivery="acknowledged",
        overflow="block",
        overflow_timeout=60.0,
        shutdown_timeout=60.0,
    )
    log.addHandler(handler)
    start.wait()
    began.put(time.perf_counter())
    KINDS["template"](log, count)
    handler.close()


def run(plan: Plan) -> list[Row]:
    """Both."""
    return [*_threads(plan), *_senders(plan)]


def _threads(plan: Plan) -> list[Row]:
    records = plan.records_of(20_000, 100_000)
    cases = [(number, name) for number in THREADS for name in NAMES]
    with Sink() as sink:
        target = {"ports": sink.ports, "records": records}

        def one(case: tuple[int, str]) -> Mapping[str, float]:
            found: dict[str, float] = in_child(
                in_threads, threads=case[0], name=case[1], target=target
            )
            arrived = sink.take()
            found["delivered"] = arrived.records / (case[0] * (records // case[0]) + 2_000)
            return found

        seen = interleaved(plan.rounds_of(2, 5), cases, one)
    rows: list[Row] = []
    for (number, name), figures in seen.items():
        own, null = medians(figures), medians(seen[number, BASELINE])
        over = round(own["process_cpu"] - null["process_cpu"], 3)
        caller = round(own["caller"] - null["caller"], 3)
        if name != BASELINE:
            rows.append(
                {
                    "grows": f"{number} threads",
                    "handler": name,
                    "caller_over_null": caller,
                    "process_cpu_over_null": over,
                    "delivered": own["delivered"],
                }
            )
    return rows


def _senders(plan: Plan) -> list[Row]:
    records = plan.records_of(64_000, 320_000)

    def one(senders: int) -> Mapping[str, float]:
        with FarSide("batchudp", "null") as far:
            far.expect(records)
            began = in_child(in_processes, senders=senders, records=records, port=far.port)
            got = far.outcome(5.0)
        return {
            "rate": got.delivered / (got.last - began),
            "receiver_cpu": 1e6 * got.cpu / max(1, got.delivered),
            "delivered": got.delivered / records,
        }

    seen = interleaved(plan.rounds_of(2, 5), SENDERS, one)
    return [
        {"grows": f"{n} senders", "handler": "batchudp acknowledged batch=500", **medians(f)}
        for n, f in seen.items()
    ]
