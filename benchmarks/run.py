"""One command measures everything, or a part of it.

    python benchmarks/run.py                          the quick run: every question, in minutes
    python benchmarks/run.py --full --json out.json   more rounds, larger numbers
    python benchmarks/run.py --only cost --peer batchudp --work template

The rows go to a JSON file, from which `tables.py` and `plot.py` make what the documentation shows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from lab import Plan, circumstances, moment, say
from report import RESULTS, publish
from tables import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITES = (
    "cost",
    "latency",
    "receive",
    "end_to_end",
    "one_file",
    "bursts",
    "growth",
    "workers",
    "imports",
    "rest",
)


def run(names: Sequence[str], plan: Plan) -> dict[str, Any]:
    """The rows of each suite, and what they mean nothing without."""
    result: dict[str, Any] = {"circumstances": circumstances(plan), "suites": {}}
    started = time.monotonic()
    for name in names:
        say(f"{name}")
        since = time.monotonic()
        rows = import_module(f"suites.{name}").run(plan)
        seconds = round(time.monotonic() - since, 1)
        result["suites"][name] = {**moment(), "seconds": seconds, "rows": rows}
        print(as_text(name, rows), flush=True)
        say(f"{name}: {seconds:.0f} s")
    result["circumstances"]["seconds"] = round(time.monotonic() - started)
    result["circumstances"]["load_after"] = round(os.getloadavg()[0], 2)
    return result


def replaced(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old results, with those suites that were measured again; each says when it was."""
    return {**old, "suites": {**old["suites"], **new["suites"]}}


def write(result: dict[str, Any], path: Path) -> None:
    """One row a line, so that two results can be compared."""
    text = json.dumps(result, indent=1)
    for row in (r for suite in result["suites"].values() for r in suite["rows"]):
        spread = json.dumps(row, indent=1).replace("\n", "\n    ")
        text = text.replace(spread, json.dumps(row), 1)
    path.write_text(text + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    """What may be asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="minutes; the default")
    length.add_argument("--full", action="store_true", help="more of everything")
    parser.add_argument("--only", action="append", choices=SUITES, metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--publish", action="store_true", help="write results, tables and pictures into docs/"
    )
    parser.add_argument("--corpus", metavar="FILE", help="a log file: its lines are work, too")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME")
    parser.add_argument("--work", action="append", default=[], metavar="KIND")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--records", type=int)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    asked = arguments()
    plan = Plan(
        full=asked.full,
        rounds=asked.rounds,
        records=asked.records,
        peers=tuple(asked.peer),
        works=tuple(asked.work),
        corpus=asked.corpus and str(Path(asked.corpus).resolve()),
    )
    result = run(asked.only or SUITES, plan)
    if asked.json:
        write(result, asked.json)
    if asked.publish:
        if asked.only and RESULTS.exists():
            result = replaced(json.loads(RESULTS.read_text("utf-8")), result)
        write(result, RESULTS)
        publish(result)


if __name__ == "__main__":
    main()
