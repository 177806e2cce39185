"""Measurements whose figures can be believed: fresh processes, interleaved rounds.

Each measurement runs in a process of its own. Rounds are interleaved: every case once, then every
case again in the other direction, so that a slow minute of the machine hits all of them. What is
reported is the median over the rounds, and differences from and ratios to another case of the same
run. Processor time is preferred to the clock, since others may be using the machine.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).parent
PEER_PACKAGES = (
    "batchudp-handler",
    "python-logstash-async",
    "graypy",
    "pygelf",
    "fluent-logger",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-logging",
    "concurrent-log-handler",
)
CHILD_SECONDS = 300.0

Row = dict[str, Any]
Case = TypeVar("Case")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    full: bool = False
    rounds: int | None = None
    records: int | None = None
    peers: tuple[str, ...] = ()
    works: tuple[str, ...] = ()
    corpus: str | None = None

    def pick(self, quick: int, full: int) -> int:
        """The number for a quick run, or for a long one."""
        return full if self.full else quick

    def rounds_of(self, quick: int, full: int) -> int:
        """Rounds, unless the command line says how many."""
        return self.rounds or self.pick(quick, full)

    def records_of(self, quick: int, full: int) -> int:
        """Records, unless the command line says how many."""
        return self.records or self.pick(quick, full)

    def peers_of(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that the command line wants."""
        return [name for name in names if not self.peers or name in self.peers]


class MeasurementFailedError(Exception):
    """A child ended badly; its last words are the text."""


def in_child(function: Callable[..., Any], /, **job: object) -> Any:
    """Call `function` with `job` in a fresh interpreter, and give back what it returned."""
    name = f"{function.__module__}:{function.__qualname__}"
    done = subprocess.run(
        [sys.executable, str(HERE / "child.py"), name],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MeasurementFailedError("\n".join(done.stderr.splitlines()[-3:]))
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(
    rounds: int, cases: Sequence[Case], measure: Callable[[Case], Mapping[str, float]]
) -> dict[Case, list[Mapping[str, float]]]:
    """The figures of every case, one mapping for each round; a case that fails is left out."""
    seen: dict[Case, list[Mapping[str, float]]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            try:
                seen[case].append(measure(case))
            except (MeasurementFailedError, subprocess.TimeoutExpired) as error:
                say(f"  {case}: {error}")
        say(f"  round {number + 1} of {rounds}")
    return {case: figures for case, figures in seen.items() if figures}


def medians(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each figure's own median."""
    return {
        name: statistics.median(each[name] for each in figures)
        for name in figures[0]
        if isinstance(figures[0][name], int | float)
    }


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def resident(name: str = "VmRSS") -> int:
    """Bytes of memory of this process: now, or with ``VmHWM`` at most so far."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Let ``VmHWM`` start again from what is in use now."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def circumstances(plan: Plan) -> Row:
    """What a figure means nothing without."""
    return {
        "when": _now(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "full": plan.full,
        "corpus": plan.corpus and Path(plan.corpus).name,
        "packages": _versions(),
    }


def moment() -> Row:
    """When a suite was finished, and how busy the machine was."""
    return {"when": _now(), "load": round(os.getloadavg()[0], 2)}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _versions() -> dict[str, str]:
    found = {}
    for name in PEER_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
