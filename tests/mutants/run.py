"""Mistakes planted in the cores, each of which the core tests must notice.

Applies each mutant of mutants.toml to a copy of the tree and runs the tests of the cores against
it, then, should they all pass, a slice of the simulator. Every mutant must fail one of them. A
mutant whose old text is not found once fails the run: the code has moved on, and so must the
mutant. The unchanged copy must pass, or the kills would prove nothing.

    python tests/mutants/run.py                 all, two at a time
    python tests/mutants/run.py receive_window  those whose file or text says so
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
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORE = Path("src", "batchudp_handler", "core")
SEEDS = 200
"""Cases of the simulator for a mutant that the unit tests let live."""
LIMIT = 400.0
"""Seconds; a mutant that makes the tests hang is noticed too."""


@dataclass(frozen=True, slots=True)
class Mutant:
    file: str
    breaks: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: Mutant
    killer: str | None
    """What noticed it; None: it lives."""
    seconds: float


def load(pattern: str) -> list[Mutant]:
    """The mutants whose file or description has the pattern in it."""
    table: dict[str, Any] = tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))
    mutants = [Mutant(**{**each, "tests": tuple(each["tests"])}) for each in table["mutant"]]
    return [each for each in mutants if re.search(pattern, f"{each.file} {each.breaks}")]


def misfits(mutants: list[Mutant]) -> list[str]:
    """What is wrong with the mutants themselves."""
    found = []
    for each in mutants:
        count = (ROOT / CORE / each.file).read_text("utf-8").count(each.old)
        if count != 1:
            found.append(f"{each.file}: {each.breaks}: the old text occurs {count} times")
    return found


def examine(mutant: Mutant | None) -> Verdict:
    """Run the tests against a copy with the mutant in it; without one, against a plain copy."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy_tree(Path(folder))
        if mutant is not None:
            path = Path(folder, CORE, mutant.file)
            path.write_text(path.read_text("utf-8").replace(mutant.old, mutant.new), "utf-8")
        killer = first_failure(Path(folder), mutant.tests if mutant else ())
    return Verdict(mutant or Mutant("", "nothing", "", ""), killer, time.monotonic() - started)


def copy_tree(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("src", "tests", "fuzz", "docs"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", target)


def first_failure(folder: Path, first: tuple[str, ...]) -> str | None:
    """The first test or seed that fails."""
    core = Path("tests", "core")
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    names = sorted(
        str(path.relative_to(folder / core)) for path in (folder / core).rglob("test_*.py")
    )
    ordered = [*first, *(name for name in names if name not in first)]
    output = run([*pytest, *(str(core / name) for name in ordered)], folder, folder)
    if output is not None:
        failed = re.search(r"^(?:FAILED|ERROR) (?:\S*/)?(\S+)", output, re.MULTILINE)
        return failed.group(1) if failed else output.strip().splitlines()[-1]
    output = run([sys.executable, "-m", "simulator", "0", str(SEEDS)], folder / "tests", folder)
    if output is not None:
        return f"simulator: {output.strip().splitlines()[0]}"
    return None


def run(command: list[str], folder: Path, root: Path) -> str | None:
    """What a command says when it fails; None when it does not."""
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "the tests hang"
    return done.stdout + done.stderr or "no output" if done.returncode else None


def is_copy_used() -> bool:
    """Whether the copy is what gets imported, and not an installed package."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy_tree(Path(folder))
        code = f"import sys, batchudp_handler as b; sys.exit({folder!r} not in b.__file__)"
        return run([sys.executable, "-c", code], Path(folder), Path(folder)) is None


def show(verdict: Verdict) -> None:
    fate = f"killed by {verdict.killer}" if verdict.killer else "LIVES"
    mutant = verdict.mutant
    print(f"{verdict.seconds:6.1f} s  {mutant.file:24} {mutant.breaks:60} {fate}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pattern", nargs="?", default="", help="only mutants that match this")
    mutants = load(parser.parse_args().pattern)
    wrong = misfits(mutants)
    if wrong or not mutants:
        print("\n".join(wrong) or "no mutant matches")
        return 1
    if not is_copy_used():
        print("the copy is not what the tests import")
        return 1
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        plain = pool.submit(examine, None)
        verdicts = []
        for verdict in pool.map(examine, mutants):
            show(verdict)
            verdicts.append(verdict)
    killer = plain.result().killer
    killed = sum(verdict.killer is not None for verdict in verdicts)
    print(f"{killed} of {len(verdicts)} mutants killed")
    if killer is not None:
        print(f"but the tests fail without a mutant as well: {killer}")
    return 0 if killed == len(verdicts) and killer is None else 1


if __name__ == "__main__":
    sys.exit(main())
