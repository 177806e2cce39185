"""Runs of many seeds, or of one again: `python -m tests.identity --first 0 --runs 500`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.identity.preload import build
from tests.identity.run import Row, Run
from tests.identity.scenario import scenario

HEADINGS = (
    *("seed", "fault, output, delivery", "accepted", "confirmed", "lines", "counted elsewhere"),
    "difference",
)


def run_one(seed: int, preload: str) -> Row:
    """One run, in a folder of its own that stays when something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix=f"identity-{seed}-"))
    try:
        row = Run(scenario(seed), folder, preload)()
    except Exception as error:  # noqa: BLE001  # a run that fails is no reason to end the others
        row = Row(scenario(seed), problems=[f"{type(error).__name__}: {error}"])
    if row.problems:
        row.problems.append(f"see {folder}")
    else:
        for file in sorted(folder.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        folder.rmdir()
    return row


def main() -> int:
    """Run them, show a table and what is wrong; 1 if something is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=500, help="how many seeds in a row")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        preload = build(Path(folder))
        seeds = range(given.first, given.first + given.runs)
        rows = []
        for row in pool.map(lambda seed: run_one(seed, preload), seeds):
            rows.append(row)
            print("|", " | ".join(row.cells()), "|", *row.problems, flush=True)
    wrong = [row for row in rows if row.problems]
    print()
    for cells in (HEADINGS[1:], *summary(rows)):
        print("|", " | ".join(cells), "|")
    print(f"{len(rows)} runs, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    for row in wrong:
        print(f"again: python -m tests.identity --first {row.scenario.seed} --runs 1")
    return bool(wrong)


def summary(rows: list[Row]) -> list[tuple[str, ...]]:
    """One row for each fault and delivery: the sums over all of its runs."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.scenario.fault, row.scenario.delivery), []).append(row)
    table = []
    for (fault, delivery), group in sorted(found.items()):
        counted: Counter[str] = sum((row.counted for row in group), Counter())
        table.append(
            (
                f"{fault}, {delivery}, {len(group)} runs",
                *(str(sum(getattr(row, name) for row in group)) for name in NUMBERS),
                ", ".join(f"{name} {number}" for name, number in counted.items() if number),
                str(sum(abs(row.difference) for row in group)),
            )
        )
    return table


NUMBERS = ("accepted", "confirmed", "lines")

if __name__ == "__main__":
    sys.exit(main())
