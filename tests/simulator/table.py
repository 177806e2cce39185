"""What the random networks cost, and what is lost in them: a table, one row per fault.

    cd tests; python -m simulator.table 0 20000

runs the cases of these seeds, checks the identities in each, and prints a table in Markdown. A
case counts in the row of every fault that it has, so the rows overlap; the last row has all.
Cases of one-way delivery, which promises less, have a row of their own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .case import DEFAULT_BUFFER, random_case
from .checks import check
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batchudp_handler.testing.faultproxy import Faults

    from .case import Case
    from .world import Outcome

HEADINGS = (
    "fault", "scenarios", "records", "lost", "twice", "explained", "worst time",
    "sent per datagram",
)  # fmt: skip


def has(test: Callable[[Faults], object]) -> Callable[[Case], bool]:
    """Whether any phase of a case has a fault in one of its directions."""

    def find(case: Case) -> bool:
        return any(
            test(faults)
            for phase in case.network.phases
            for faults in (phase.to_receiver, phase.to_sender)
        )

    return find


FAULTS: dict[str, Callable[[Case], object]] = {
    "loss up to 10 %": has(lambda each: 0 < each.loss <= 0.1),
    "loss of 20 to 50 %": has(lambda each: each.loss > 0.1),
    "bursts of losses": has(lambda each: each.burst_start),
    "duplicates": has(lambda each: each.duplicate),
    "reordering": has(lambda each: each.reorder),
    "jitter": has(lambda each: each.jitter),
    "flipped bits": has(lambda each: each.flip),
    "cut short": has(lambda each: each.truncate),
    "nothing in one direction": has(lambda each: each.blackhole),
    "source port changes": lambda case: any(p.rebind_interval for p in case.network.phases),
    "receiver killed": lambda case: any(not each.graceful for each in case.restarts),
    "receiver ended by SIGTERM": lambda case: any(each.graceful for each in case.restarts),
    "garbage answers meanwhile": lambda case: any(each.garbage for each in case.restarts),
    "slow handlers": lambda case: case.handler_time,
    "handlers blocked for seconds": lambda case: case.stall_time,
    "batches rejected": lambda case: case.reject_every,
    "small receive buffer": lambda case: case.receive_buffer < DEFAULT_BUFFER,
    "path becomes narrower": lambda case: case.path_limit,
    "records in fragments": lambda case: case.large_every,
    "all in which the receiver lives": lambda case: not case.restarts,
    "all": lambda _: True,
}


@dataclass
class Row:
    """The sums of the cases with one fault."""

    scenarios: int = 0
    records: int = 0
    lost: int = 0
    twice: int = 0
    explained: int = 0
    worst: float = 0.0
    datagrams: int = 0
    transmissions: int = 0

    def add(self, case: Case, lost: int, outcome: Outcome) -> None:
        """Count a run."""
        self.scenarios += 1
        self.records += case.senders * case.records
        self.lost += lost
        self.twice += outcome.extra
        self.explained += outcome.resent
        self.worst = max(self.worst, outcome.time)
        self.datagrams += outcome.datagrams
        self.transmissions += outcome.transmissions

    def cells(self, name: str) -> tuple[str, ...]:
        """As text."""
        numbers = (self.scenarios, self.records, self.lost, self.twice, self.explained)
        ratio = self.transmissions / max(self.datagrams, 1)
        return (name, *(f"{n:,}" for n in numbers), f"{self.worst:.1f} s", f"{ratio:.3f}")


def measure(seeds: Iterable[int]) -> dict[str, Row]:
    """Run the cases of some seeds; raise where an identity does not hold."""
    rows = {name: Row() for name in (*FAULTS, "one-way")}
    for seed in seeds:
        case = random_case(seed)
        world = World(case)
        outcome = world.run()
        check(world, outcome)
        accepted = {number for node in world.nodes for number in node.accepted}
        lost = len(accepted - world.host.delivered.keys() - world.host.rejected.keys())
        if case.delivery == "one_way":
            rows["one-way"].add(case, lost, outcome)
            continue
        for name, is_in in FAULTS.items():
            if is_in(case):
                rows[name].add(case, lost, outcome)
    return rows


def main(arguments: list[str]) -> None:
    """Print the table of the seeds from the first argument up to the second."""
    first, end = map(int, arguments)
    dashes = ("---", *("---:" for _ in HEADINGS[1:]))
    cells = [row.cells(name) for name, row in measure(range(first, end)).items()]
    for line in (HEADINGS, dashes, *cells):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
