"""Runs the protocol's model, and checks that it would notice a broken one.

Runs spin on protocol.pml: exhaustive searches that must find nothing, then the same model with
one planted mistake after the other, each of which must be found.  Prints one line per run and
exits with 1 if any run ends otherwise than it should.  Without spin or a C compiler it says so
and exits with 0, or with 1 when BATCHUDP_REQUIRE is set.

    python formal/check.py              about half a minute on two cores
    python formal/check.py --thorough   larger channels as well: some minutes, 4 GB
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("protocol.pml")
TOOLS = ("spin", "gcc")
RUN_LIMIT = 900.0  # seconds; a search that needs more has outgrown the model


@dataclass(frozen=True, slots=True)
class Run:
    """One search: how much fits into the channels, what is looked for, what is planted."""

    datagrams: int
    outward: int
    inward: int
    liveness: bool = False
    fault: str | None = None

    @property
    def name(self) -> str:
        kind = "liveness" if self.liveness else "safety"
        size = f"{self.datagrams} datagrams, channels {self.outward}/{self.inward}"
        return f"{kind:8}  {size}  {self.fault or ''}"


@dataclass(frozen=True, slots=True)
class Result:
    run: Run
    complete: bool
    states: int
    errors: int
    finding: str
    seconds: float

    @property
    def as_expected(self) -> bool:
        if self.run.fault is None:
            return self.complete and self.errors == 0
        return self.errors > 0


# The largest first, so that two cores finish together.
RUNS = (
    Run(3, 2, 1, liveness=True),
    Run(3, 1, 2),
    Run(2, 1, 2, liveness=True),
    Run(2, 2, 2),
    Run(3, 2, 1),
    Run(3, 2, 1, fault="ACK_BEFORE_HANDLING"),
    Run(3, 2, 1, fault="FLOOR_PASSES_HOLE"),
    Run(3, 2, 1, fault="ANY_COOKIE"),
    Run(3, 2, 1, fault="NO_DEDUPE"),
    Run(2, 1, 2, liveness=True, fault="FORGETS_EPOCH"),
    Run(2, 1, 2, liveness=True, fault="GIVES_UP_TOO_EARLY"),
)
THOROUGH = (Run(3, 1, 2, liveness=True), Run(2, 2, 2, liveness=True), Run(2, 3, 2))


def search(run: Run) -> Result:
    """Translate, compile and search in a folder of its own."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="formal-") as folder:
        printed = explore(run, folder)
    return result_from_output(run, printed, time.monotonic() - started)


def explore(run: Run, folder: str) -> str:
    shutil.copy(MODEL, folder)
    sizes = [f"-DN={run.datagrams}", f"-DOUTWARD={run.outward}", f"-DINWARD={run.inward}"]
    extra = ["-DLIVENESS"] * run.liveness + [f"-DFAULT_{run.fault}"] * bool(run.fault)
    # weak fairness (-f) keeps every process that can always move from being starved for ever
    build = ["-DNFAIR=3"] if run.liveness else ["-DSAFETY"]
    options = ["-a", "-f"] if run.liveness else []
    call(["spin", "-a", *sizes, *extra, MODEL.name], folder)
    call(["gcc", "-O2", "-w", "-DCOLLAPSE", "-DMEMLIM=4000", *build, "-o", "pan", "pan.c"], folder)
    return call(["./pan", "-m1000000", *options], folder)


def call(command: list[str], folder: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=RUN_LIMIT, check=False
    )
    if done.returncode and not command[0].startswith("./"):
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def result_from_output(run: Run, printed: str, seconds: float) -> Result:
    states = re.search(r"(\d+(?:\.\d+e\+\d+)?) states, stored", printed)
    errors = re.search(r"errors: (\d+)", printed)
    if states is None or errors is None:
        raise RuntimeError(f"no verdict from spin for {run.name}: {printed}")
    finding = re.search(r"pan:1: (.+?) \(at depth", printed)
    complete = "max search depth too small" not in printed and "reached memory" not in printed
    return Result(
        run,
        complete and "Search not completed" not in printed,
        int(float(states.group(1))),
        int(errors.group(1)),
        finding.group(1) if finding else "nothing",
        seconds,
    )


def report(results: list[Result]) -> bool:
    """Print a table; True when every run ended as it should."""
    for result in results:
        verdict = "as it should" if result.as_expected else "WRONG"
        print(
            f"{result.run.name:60} {result.states:>10,} states {result.errors} errors "
            f"{result.seconds:5.1f} s  {verdict}; found: {result.finding[:60]}"
        )
    return all(result.as_expected for result in results)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--thorough", action="store_true", help="search larger channels as well")
    arguments = parser.parse_args()
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        print(f"skipped: {' and '.join(absent)} not found (Debian: apt-get install spin gcc)")
        return 1 if os.environ.get("BATCHUDP_REQUIRE") else 0
    runs = RUNS + (THOROUGH if arguments.thorough else ())
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        return 0 if report(list(pool.map(search, runs))) else 1


if __name__ == "__main__":
    sys.exit(main())
