"""Runs the fuzzer over everything that reads bytes from others.

Runs every target under atheris for a while, two at a time, and prints one line each: inputs per
second, inputs, and what was found. An input that breaks something is left in
fuzz/regressions/<target>/, where the tests find it; the exit code is then 1. Without atheris it
says so and exits with 0, or with 1 when BATCHUDP_REQUIRE is set.

    python fuzz/run.py --seconds 20
    python fuzz/run.py --seconds 600 --target receiver --keep ~/corpus
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz.targets import CORPUS, REGRESSIONS, TARGETS, Target  # needs the path above

WORKER = Path(__file__).with_name("worker.py")
MEMORY_MB = 1_024
GRACE = 120.0
"""Seconds beyond the given ones: start, the corpus, the end."""


@dataclass(frozen=True, slots=True)
class Result:
    target: Target
    executions: int
    per_second: int
    found: list[str]
    output: str
    is_ok: bool


def fuzz(target: Target, seconds: int, keep: Path | None) -> Result:
    """Run one target in a process of its own."""
    findings = REGRESSIONS / target.name
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        grown = Path(scratch, "corpus") if keep is None else keep / target.name
        grown.mkdir(parents=True, exist_ok=True)
        command = [*_command(target, seconds, Path(scratch)), str(grown)]
        command += [str(folder / target.name) for folder in (CORPUS, REGRESSIONS)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + GRACE,
            check=False,
        )
    found = sorted(path.name for path in set(findings.iterdir()) - before)
    if not any(findings.iterdir()):
        findings.rmdir()
    output = done.stdout + done.stderr
    executions = _number(r"stat::number_of_executed_units:\s*(\d+)", output)
    per_second = _number(r"stat::average_exec_per_sec:\s*(\d+)", output)
    return Result(target, executions, per_second, found, output, done.returncode == 0)


def _command(target: Target, seconds: int, scratch: Path) -> list[str]:
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        f"-artifact_prefix={REGRESSIONS / target.name}{os.sep}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=10",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    if target.words:
        words = scratch / "words"
        lines = [f'"{_escaped(word)}"\n' for word in target.words if word]
        words.write_text("".join(lines), encoding="ascii")
        options.append(f"-dict={words}")
    return [sys.executable, str(WORKER), target.name, *options]


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def report(result: Result) -> None:
    """One line; and the end of what the fuzzer said if it found something."""
    verdict = "nothing found" if result.is_ok else f"FOUND {' '.join(result.found) or 'an error'}"
    print(
        f"{result.target.name:14} {result.per_second:>8,}/s {result.executions:>12,} inputs  "
        f"{verdict}",
        flush=True,
    )
    if not result.is_ok:
        print("\n".join(_telling_part(result.output)), flush=True)


def _telling_part(output: str) -> list[str]:
    """The traceback, if there is one, and the fuzzer's last words."""
    lines = [line for line in output.splitlines() if "INFO: Instrumenting" not in line]
    starts = [number for number, line in enumerate(lines) if "Uncaught Python exception" in line]
    traceback = lines[starts[0] : starts[0] + 40] if starts else []
    return [line[:200] for line in (*traceback, *lines[-12:])]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one")
    parser.add_argument("--keep", type=Path, help="where inputs that reach new code are kept")
    arguments = parser.parse_args()
    if find_spec("atheris") is None:
        print("skipped: atheris is not installed (it has wheels for some Pythons on Linux)")
        return 1 if os.environ.get("BATCHUDP_REQUIRE") else 0
    targets = [TARGETS[name] for name in arguments.target or TARGETS]
    is_ok = True
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        runs = [pool.submit(fuzz, each, arguments.seconds, arguments.keep) for each in targets]
        for run in runs:
            result = run.result()
            report(result)
            is_ok = is_ok and result.is_ok
    return 0 if is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
