"""Twenty thousand random runs: every record delivered once, or counted, whatever the network does.

BATCHUDP_SIMULATOR_SEEDS sets another number of runs, BATCHUDP_SIMULATOR_FIRST the first seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .case import random_case
from .sweep import failures
from .table import measure
from .world import World

FOLDER = Path(__file__).parent
SEEDS = int(os.environ.get("BATCHUDP_SIMULATOR_SEEDS", "20000"))
FIRST = int(os.environ.get("BATCHUDP_SIMULATOR_FIRST", "0"))
PROCESSES = min(os.cpu_count() or 1, max(2, SEEDS // 100_000))
"""Two are enough for the usual number; a soak takes what is there."""

REGRESSIONS = [
    int(line.split()[0])
    for line in (FOLDER / "regressions.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.timeout(600 + SEEDS // 20)
def test_random_cases() -> None:
    """Identities S, R, X, X' and O hold in every run; a run that fails names its seed."""
    sweeps = [
        subprocess.Popen(
            [sys.executable, "-m", "simulator", *map(str, (FIRST + n, FIRST + SEEDS, PROCESSES))],
            cwd=FOLDER.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for n in range(PROCESSES)
    ]
    found = [sweep.communicate()[0] for sweep in sweeps]
    assert "".join(found) == ""
    assert [sweep.returncode for sweep in sweeps] == [0] * PROCESSES


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seeds_that_failed_once(seed: int) -> None:
    """What was repaired stays repaired."""
    assert list(failures([seed])) == []


def test_a_run_is_fixed_by_its_seed() -> None:
    """A failing seed fails again."""
    assert World(random_case(5)).run() == World(random_case(5)).run()


def test_random_cases_are_as_bad_as_they_are_meant_to_be() -> None:
    """The cases have every fault in them, so that the runs prove something."""
    cases = [random_case(seed) for seed in range(2_000)]
    faults = [
        faults
        for case in cases
        for phase in case.network.phases
        for faults in (phase.to_receiver, phase.to_sender)
    ]
    assert sum(each.loss >= 0.3 for each in faults) > 500
    for name in ("burst_start", "duplicate", "reorder", "jitter", "flip", "truncate", "blackhole"):
        assert sum(bool(getattr(each, name)) for each in faults) > 50, name
    for restarts in (1, 2, 3, 4):
        assert sum(len(case.restarts) == restarts for case in cases) > 50
    for name in ("large_every", "rate", "stall_time", "handler_time", "refuses", "path_limit"):
        assert sum(bool(getattr(case, name)) for case in cases) > 50, name
    for host in (-1, 0):
        steps = [step for case in cases for step in case.clock_steps if step.host == host]
        assert sum(step.at > 0 for step in steps) > 50
    assert sum(case.keyed and case.delivery == "one_way" for case in cases) > 50
    assert sum(case.max_streams < case.senders for case in cases) > 20
    assert {case.encoding for case in cases} == {"light", "compact"}
    assert {case.delivery for case in cases} == {"acknowledged", "one_way"}


def test_the_table_counts_each_case() -> None:
    """In the row of all or in that of one-way delivery; nothing acknowledged is lost."""
    rows = measure(range(40))
    assert rows["all"].scenarios + rows["one-way"].scenarios == 40
    assert rows["all"].lost == 0 < rows["all"].transmissions
    assert rows["all in which the receiver lives"].twice <= rows["all"].explained
