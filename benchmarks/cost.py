"""What does one logging call cost the caller, and the whole process?

    python benchmarks/cost.py --records 50000 --rounds 5 --json results.json

For each handler and kind of work, in a process of its own: the time between the first call and
the return of the last (`caller`, wall clock, and `caller_cpu`, that thread's processor time), and
the processor time of all threads until the handler is closed (`process_cpu`), each divided by the
number of records. The sink counts what arrived.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from peers import PEERS, Target
from sink import Sink
from work import KINDS

import batchudp_handler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WARM_UP = 2_000
BASELINE = "NullHandler"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one record, in microseconds."""

    caller: float
    caller_cpu: float
    process_cpu: float


@dataclass(frozen=True, slots=True)
class Row:
    """One handler at one kind of work: medians over the rounds."""

    peer: str
    work: str
    cost: Cost
    over_null: Cost
    bytes_per_record: float
    pieces_per_record: float


# --- one measurement, in a child process -------------------------------------------------------


def measure(peer: str, kind: str, target: Target) -> Cost:
    """Run the work once to warm up, once for the clock."""
    attached = PEERS[peer](target)
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(attached.handler)
    work = KINDS[kind]
    work(log, WARM_UP)
    attached.handler.flush()
    time.sleep(0.05)  # let background threads of any kind fall asleep; not part of the figure
    gc.collect()

    before_process, before_cpu, before = (
        time.process_time(),
        time.thread_time(),
        time.perf_counter(),
    )
    work(log, target.records)
    after, after_cpu = time.perf_counter(), time.thread_time()
    attached.finish()
    after_process = time.process_time()

    scale = 1e6 / target.records
    return Cost(
        (after - before) * scale,
        (after_cpu - before_cpu) * scale,
        (after_process - before_process) * scale,
    )


def measure_in_child(peer: str, kind: str, target: Target) -> Cost:
    """Start a fresh interpreter for one measurement."""
    job = json.dumps({"peer": peer, "kind": kind, "target": asdict(target)})
    done = subprocess.run(
        [sys.executable, __file__, "--child", job], stdout=subprocess.PIPE, text=True, check=True
    )
    return Cost(**json.loads(done.stdout))


def child(job: str) -> None:
    """What the fresh interpreter runs."""
    told = json.loads(job)
    cost = measure(told["peer"], told["kind"], Target(**told["target"]))
    print(json.dumps(asdict(cost)))


# --- all of them -------------------------------------------------------------------------------


def available(names: Sequence[str]) -> list[str]:
    """Those whose library is installed, with a line about the others."""
    found = []
    for name in names:
        try:
            PEERS[name](Target(9, 9, 1)).finish()
        except ImportError as error:
            print(f"{name}: left out ({error})", file=sys.stderr)
        else:
            found.append(name)
    return found


def run(peers: Sequence[str], kinds: Sequence[str], records: int, rounds: int) -> list[Row]:
    """Every peer once, then every peer again: a slow minute hits all of them."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    volume: dict[tuple[str, str], tuple[float, float]] = {}
    with Sink() as sink:
        target = Target(sink.udp_port, sink.tcp_port, records)
        for number in range(rounds):
            for kind in kinds:
                for peer in peers:
                    cost = measure_in_child(peer, kind, target)
                    arrived = sink.take()
                    costs.setdefault((peer, kind), []).append(cost)
                    made = records + WARM_UP
                    volume[peer, kind] = (arrived.bytes / made, arrived.pieces / made)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return [row(peer, kind, costs, volume[peer, kind]) for kind in kinds for peer in peers]


def row(
    peer: str,
    kind: str,
    costs: Mapping[tuple[str, str], Sequence[Cost]],
    volume: tuple[float, float],
) -> Row:
    """The medians of one peer beside those of the baseline."""
    own, null = median(costs[peer, kind]), median(costs[BASELINE, kind])
    over = Cost(
        own.caller - null.caller,
        own.caller_cpu - null.caller_cpu,
        own.process_cpu - null.process_cpu,
    )
    return Row(peer, kind, own, over, *volume)


def median(costs: Sequence[Cost]) -> Cost:
    """Each figure's own median."""
    middle = statistics.median
    return Cost(
        middle(c.caller for c in costs),
        middle(c.caller_cpu for c in costs),
        middle(c.process_cpu for c in costs),
    )


# --- what people see ---------------------------------------------------------------------------


def circumstances(records: int, rounds: int) -> dict[str, Any]:
    """What a figure means nothing without."""
    return {
        "batchudp_handler": batchudp_handler.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "records": records,
        "rounds": rounds,
    }


def table(rows: Sequence[Row]) -> str:
    """Microseconds a record over NullHandler, and how many times SocketHandler's that is."""
    reference = {r.work: r.over_null.process_cpu for r in rows if r.peer == "SocketHandler"}
    lines = [f"{'':30} {'caller':>8} {'cpu':>8} {'process':>8} {'x Socket':>8} {'B/record':>9}"]
    for kind in dict.fromkeys(r.work for r in rows):
        lines.append(f"{kind}: us a record over {BASELINE}")
        for r in (r for r in rows if r.work == kind):
            ratio = r.over_null.process_cpu / reference[kind] if reference.get(kind) else 0.0
            shown = r.cost if r.peer == BASELINE else r.over_null
            lines.append(
                f"  {r.peer:28} {shown.caller:8.2f} {shown.caller_cpu:8.2f}"
                f" {shown.process_cpu:8.2f} {ratio:8.2f} {r.bytes_per_record:9.1f}"
            )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What may be asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="append", choices=PEERS, metavar="NAME")
    parser.add_argument("--work", action="append", choices=KINDS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    if asked.child:
        child(asked.child)
        return
    peers = available(asked.peer or list(PEERS))
    peers = list(dict.fromkeys([BASELINE, *peers]))
    rows = run(peers, asked.work or list(KINDS), asked.records, asked.rounds)
    print(table(rows))
    if asked.json:
        result = {
            "circumstances": circumstances(asked.records, asked.rounds),
            "rows": [asdict(r) for r in rows],
        }
        asked.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
