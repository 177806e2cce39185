"""The cost of one logging call for the caller, and for the whole process.

For each handler and kind of work: the time between the first call and the return of the last
(`caller`, wall clock, and `caller_cpu`, that thread's processor time), and the processor time of
all threads until the handler is closed (`process_cpu`), in microseconds a record. What remains of
each after the same calls with a `NullHandler` is the handler's own. The sink counts what arrived.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import TYPE_CHECKING

from lab import in_child, interleaved, medians, say
from peers import BASELINE, FEW, PEERS, Target, missing
from sink import Sink
from work import KINDS, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab import Plan, Row

WARM_UP = 2_000
FIGURES = ("caller", "caller_cpu", "process_cpu")
EVERYWHERE = (
    BASELINE,
    "SocketHandler",
    "DatagramHandler",
    "QueueHandler + DatagramHandler",
    "OpenTelemetry",
    "batchudp",
    "batchudp batch=500",
    "batchudp acknowledged batch=500",
)
"""In a quick run, the work other than the plain template is done by these only."""


def measure(
    peer: str, work: str, corpus: str | None, target: Mapping[str, object]
) -> dict[str, float]:
    """Run the work once to warm up, once for the clock."""
    aim = Target(**target)  # type: ignore[arg-type]  # what `job` has put into JSON
    attached = PEERS[peer](aim)
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(attached.handler)
    do = kind_of(work, corpus)
    do(log, WARM_UP)
    attached.handler.flush()
    time.sleep(0.05)  # let background threads of any kind fall asleep; not part of the figure
    gc.collect()

    process, cpu, clock = time.process_time(), time.thread_time(), time.perf_counter()
    do(log, aim.records)
    caller, caller_cpu = time.perf_counter() - clock, time.thread_time() - cpu
    attached.finish()
    spent = (caller, caller_cpu, time.process_time() - process)
    return {name: 1e6 * s / aim.records for name, s in zip(FIGURES, spent, strict=True)}


def run(plan: Plan) -> list[Row]:
    """Every peer once, then every peer again."""
    absent = missing(list(PEERS))
    for name, reason in absent.items():
        say(f"  {name}: left out ({reason})")
    wanted = [name for name in PEERS if name not in absent]
    works = [w for w in (*KINDS, *(["lines"] if plan.corpus else [])) if _is_wanted(plan, w)]
    rows: list[Row] = []
    with Sink() as sink:
        for work in works:
            is_first = work == "template"
            names = plan.peers_of(wanted)
            if not (plan.full or is_first or plan.peers):
                names = [name for name in names if name in EVERYWHERE]
            rounds = plan.rounds_of(5 if is_first else 2, 7)
            rows += _one_work(
                plan, sink, work, [BASELINE, *(n for n in names if n != BASELINE)], rounds
            )
    return rows


def _is_wanted(plan: Plan, work: str) -> bool:
    return not plan.works or work in plan.works


def _one_work(plan: Plan, sink: Sink, work: str, names: Sequence[str], rounds: int) -> list[Row]:
    say(f"  {work}")
    count = plan.records_of(20_000, 60_000)

    def one(peer: str) -> dict[str, float]:
        records = count // 4 if peer in FEW else count
        target = {"ports": sink.ports, "records": records, "key_file": sink.key_file}
        sink.take()
        figures: dict[str, float] = in_child(
            measure, peer=peer, work=work, corpus=plan.corpus, target=target
        )
        arrived, logged = sink.take(), records + WARM_UP
        figures["bytes"] = arrived.bytes / logged
        figures["delivered"] = arrived.records / logged
        return figures

    seen = interleaved(rounds, names, one)
    null = medians(seen[BASELINE])
    return [_row(peer, work, rounds, medians(figures), null) for peer, figures in seen.items()]


def _row(
    peer: str, work: str, rounds: int, own: Mapping[str, float], null: Mapping[str, float]
) -> Row:
    over = {f"{name}_over_null": round(own[name] - null[name], 3) for name in FIGURES}
    plain = {name: round(value, 3) for name, value in own.items()}
    return {"peer": peer, "work": work, "rounds": rounds, **plain, **over}
