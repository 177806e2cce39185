"""Type checkers accept a user's program, and refuse what is wrong. `tox -e typing` runs it.

mypy and pyright read `program.py`, in which they may find nothing, and `misuse.py`, in which they
must find each line that is marked, and no other.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
FILES = ("program.py", "misuse.py")


def lines_refused_by_mypy() -> set[tuple[str, int]]:
    """Files and lines with an error."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary"]
    done = run([*command, *(str(HERE / name) for name in FILES)])
    if done.returncode > 1:
        sys.exit(done.stdout + done.stderr)
    found = re.findall(r"(\w+\.py):(\d+):(?:\d+:)? error: ", done.stdout)
    return {(name, int(line)) for name, line in found}


def lines_refused_by_pyright() -> set[tuple[str, int]]:
    """Files and lines with an error; the package basedpyright brings pyright without npm."""
    command = [sys.executable, "-m", "basedpyright", "-p", str(HERE), "--outputjson"]
    done = run([*command, "--pythonpath", sys.executable])
    if done.returncode > 1:
        sys.exit(done.stdout + done.stderr)
    report = json.loads(done.stdout)
    if report["summary"]["filesAnalyzed"] != len(FILES):
        sys.exit(f"pyright did not read both files: {report['summary']}")
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a checker over the tree."""
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def marked_lines() -> set[tuple[str, int]]:
    """What has to be refused."""
    lines = (HERE / "misuse.py").read_text("utf-8").splitlines()
    return {("misuse.py", n) for n, line in enumerate(lines, 1) if line.endswith("# refused")}


def main() -> int:
    """Compare both checkers with the marks; 0 if they agree."""
    expected = marked_lines()
    wrong = 0
    for checker, found in (
        ("mypy", lines_refused_by_mypy()),
        ("pyright", lines_refused_by_pyright()),
    ):
        for name, line in sorted(found - expected):
            print(f"{checker} refuses {name}:{line}")
        for name, line in sorted(expected - found):
            print(f"{checker} accepts {name}:{line}")
        wrong += len(found ^ expected)
        print(f"{checker}: {len(found & expected)} of {len(expected)} mistakes found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
