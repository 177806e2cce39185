"""The test files of each core module, and the branch coverage that it reaches by them alone.

    python -m tests.core.each             all modules, two at a time; fails below 100 %
    python -m tests.core.each send/window  those whose name has the text in it

A module that only other modules' tests reach has a contract that nobody wrote down: whoever
changes it learns what broke from a failure two rooms away.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

__all__ = ["measured", "modules", "own_tests"]

ROOT = Path(__file__).parents[2]
CORE = Path("src", "batchudp_handler", "core")
TESTS = Path("tests", "core")
JOBS = 2


@cache
def modules() -> tuple[str, ...]:
    """Return the core modules that do something, as `room/name`."""
    paths = sorted((ROOT / CORE).rglob("*.py"))
    found = [path.relative_to(ROOT / CORE).with_suffix("").as_posix() for path in paths]
    return tuple(name for name, path in zip(found, paths, strict=True) if _has_functions(path))


def own_tests(module: str) -> list[str]:
    """Return the test files of a module: `test_<name>.py` and `test_<name>_<subject>.py`.

    A file belongs to the module with the longest name that fits.
    """
    room, _, name = module.rpartition("/")
    files = sorted((ROOT / TESTS / room).glob("test_*.py"))
    names = [each.rpartition("/")[2] for each in modules() if each.rpartition("/")[0] == room]
    return [
        path.relative_to(ROOT).as_posix() for path in files if _tested(path.stem, names) == name
    ]


def _tested(file: str, names: list[str]) -> str | None:
    """Return the name of the module whose tests a file of the same room holds."""
    fitting = [name for name in names if f"{file}_".startswith(f"test_{name}_")]
    return max(fitting, key=len, default=None)


def measured(module: str) -> tuple[float, list[str]]:
    """Run the module's own tests; return its coverage in percent and what they leave out."""
    tests = own_tests(module)
    if not tests:
        return 0.0, ["no test file"]
    with tempfile.TemporaryDirectory() as folder:
        data = f"--data-file={folder}/data"
        only = f"--include=*/{CORE.as_posix()}/{module}.py"
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        if _coverage("run", "--branch", only, data, *pytest):
            return 0.0, ["its tests fail"]
        assert _coverage("json", "-q", data, "-o", f"{folder}/report") == 0
        [found] = json.loads(Path(folder, "report").read_text("utf-8"))["files"].values()
    lines = [str(line) for line in found["missing_lines"]]
    arcs = [f"{start}->{end}" for start, end in found["missing_branches"]]
    return found["summary"]["percent_covered"], lines + arcs


def _coverage(command: str, *arguments: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "coverage", command, "--rcfile=", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
        check=False,
    ).returncode


def _has_functions(path: Path) -> bool:
    """Return whether a module has functions that can run: those of a protocol only say a type."""
    tree = ast.parse(path.read_text("utf-8"))
    of_protocols = {
        id(node)
        for each in ast.walk(tree)
        if isinstance(each, ast.ClassDef) and "Protocol" in map(ast.unparse, each.bases)
        for node in each.body
    }
    return any(
        isinstance(node, ast.FunctionDef) and id(node) not in of_protocols
        for node in ast.walk(tree)
    )


def main() -> int:
    """Measure the modules that are asked for, and list those below 100 %."""
    asked = [name for name in modules() if not sys.argv[1:] or sys.argv[1] in name]
    with ThreadPoolExecutor(JOBS) as pool:
        results = dict(zip(asked, pool.map(measured, asked), strict=True))
    short = {name: found for name, found in results.items() if found[0] < 100}
    for name, (percent, missing) in short.items():
        print(f"{percent:5.1f} %  {name}: {', '.join(missing[:12])}{' ...' * (len(missing) > 12)}")
    print(f"{len(results) - len(short)} of {len(results)} core modules reach 100 % by themselves")
    return bool(short)


if __name__ == "__main__":
    sys.exit(main())
