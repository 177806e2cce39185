"""The cost of a handler that has nothing to do.

Memory beyond the same process with a `NullHandler`, and how often its threads wake up: the
voluntary context switches of all threads but the main one, per second. Ten records are logged
first. All processes are idle at the same time.
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import in_child, resident
from peers import BASELINE, PEERS, Target, missing
from sink import Sink
from work import KINDS

from batchudp_handler import BatchUDPReceiver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab import Plan, Row

NAMES = (
    BASELINE,
    "SocketHandler",
    "QueueHandler + DatagramHandler",
    "python-logstash-async",
    "graypy",
    "pygelf",
    "fluent-logger",
    "OpenTelemetry",
    "batchudp",
    "batchudp acknowledged",
)
RECEIVER = "batchudp receiver"
SETTLE_SECONDS = 2.5


def measure(name: str, seconds: float, target: Mapping[str, Any]) -> dict[str, float]:
    """Log a little, then wait and watch the threads."""
    closes = _start(name, Target(**target))
    time.sleep(SETTLE_SECONDS)
    memory, before, cpu = resident(), _switches(), time.process_time()
    time.sleep(seconds)
    woken, spent = _switches() - before, time.process_time() - cpu
    closes()
    return {"memory": memory, "wakes": woken / seconds, "cpu": 1e6 * spent / seconds}


def _start(name: str, target: Target) -> Any:
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    if name == RECEIVER:
        receiver = BatchUDPReceiver("127.0.0.1", 0)
        receiver.__enter__()
        return receiver.close
    attached = PEERS[name](target)
    log.addHandler(attached.handler)
    KINDS["template"](log, 10)
    return attached.finish


def _switches() -> int:
    own = os.getpid()
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) == own:
            continue
        for line in (task / "status").read_text("ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def run(plan: Plan) -> list[Row]:
    """All at once."""
    absent = missing(NAMES)
    names = [*(name for name in NAMES if name not in absent), RECEIVER]
    seconds = plan.pick(10, 60)
    with Sink() as sink, ThreadPoolExecutor(len(names)) as pool:
        target = {"ports": sink.ports, "records": 10, "key_file": sink.key_file}

        def one(name: str) -> dict[str, float]:
            found: dict[str, float] = in_child(measure, name=name, seconds=seconds, target=target)
            return found

        seen = dict(zip(names, pool.map(one, names), strict=True))
    null = seen[BASELINE]["memory"]
    return [
        {
            "handler": name,
            "memory_mb": round((figures["memory"] - null) / 1e6, 2),
            "wakes": round(figures["wakes"], 2),
            "cpu": round(figures["cpu"], 1),
        }
        for name, figures in seen.items()
    ]
