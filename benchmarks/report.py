"""The figures in the documentation.

    python benchmarks/report.py

Reads docs/performance/results.json, writes the tables of docs/performance.md between their marks,
and draws the pictures beside the results. Nothing that the page says in numbers is typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

from plot import draw
from tables import as_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab import Row

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
FOLDER = DOCS / "performance"
RESULTS = FOLDER / "results.json"
MARK = re.compile(
    r"(<!-- made by benchmarks/report.py: ([\w/-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)

Suites = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Goal:
    """What was wanted, and how to read from the figures whether it was reached."""

    what: str
    wanted: str
    found: Callable[[Suites], float]
    limit: float
    form: str = "{:.2f}"
    at_least: bool = False

    def line(self, suites: Suites) -> str:
        """A row of the table."""
        try:
            found = self.found(suites)
        except (KeyError, StopIteration):
            return f"| {self.what} | {self.wanted} | not measured | |"
        is_met = found >= self.limit if self.at_least else found <= self.limit
        met = "yes" if is_met else "**no**"
        return f"| {self.what} | {self.wanted} | {self.form.format(found)} | {met} |"


def pick(suites: Suites, suite: str, figure: str, **where: object) -> float:
    """A figure of the one row that fits."""
    rows = (r for r in suites[suite] if all(r[k] == v for k, v in where.items()))
    return float(next(rows)[figure])


def cost(figure: str, peer: str = "batchudp batch=500", work: str = "template") -> Any:
    """From the cost of calls."""
    return lambda suites: pick(suites, "cost", figure, peer=peer, work=work)


def tail(cores: str) -> Any:
    """How the longest thousandth of our calls compares with `NullHandler`'s."""
    where = {"rate": 20_000, "peer": "batchudp", "cores": cores}
    return lambda suites: pick(suites, "latency", "p999_over_null", **where)


def _receive(figure: str) -> Any:
    return lambda s: pick(s, "receive", figure, work="template", receiver="batchudp 1,472 B")


def _acknowledged_share(suites: Suites) -> float:
    one, other = (
        pick(suites, "end_to_end", "rate", output="null", pipeline=f"batchudp {mode}")
        for mode in ("acknowledged", "one-way")
    )
    return one / other


def _kernel_drops(suites: Suites) -> float:
    return float(sum(r["kernel_drops"] for r in suites["end_to_end"]))


def _one_file(figure: str) -> Any:
    return lambda s: pick(
        s, "one_file", figure, way="batchudp acknowledged, batchudp-receive --output"
    )


def _growth_of_bursts(suites: Suites) -> float:
    large, small = (
        pick(suites, "bursts", "cpu_over_null", records=n, handler="batchudp, room for all")
        for n in (1_000_000, 10_000)
    )
    return large / small


GOALS = (
    Goal("caller's CPU over null, µs", "<= 1.0", cost("caller_cpu_over_null"), 1.0),
    Goal("whole process's CPU over null, µs", "<= 3.0", cost("process_cpu_over_null"), 3.0),
    Goal(
        "the same with three extras",
        "<= 5.0",
        cost("process_cpu_over_null", work="extras"),
        5.0,
    ),
    Goal("p99.9 at 20,000 calls/s, one core, in p99.9 of null", "<= 2", tail("one"), 2.0),
    Goal("the same on all cores", "<= 2", tail("all"), 2.0),
    Goal(
        "bytes a record, datagrams of 1,472",
        "<= 7",
        cost("bytes", "batchudp batch=500 1,472 B"),
        7.0,
    ),
    Goal("bytes a record, datagrams of 65,507", "<= 6", cost("bytes"), 6.0),
    Goal("decode and re-emit, µs a record", "<= 3.0", _receive("cpu"), 3.0),
    Goal(
        "the same, times as fast as the cookbook's", ">= 3", _receive("faster"), 3.0, at_least=True
    ),
    Goal(
        "acknowledged, share of the one-way rate",
        ">= 80 %",
        _acknowledged_share,
        0.8,
        "{:.0%}",
        at_least=True,
    ),
    Goal("drops in the kernel, end to end", "0", _kernel_drops, 0.0, "{:.0f}"),
    Goal(
        "four processes, one file: times the better of the others",
        ">= 4",
        _one_file("faster"),
        4.0,
        at_least=True,
    ),
    Goal("lines lost there", "0", _one_file("lost"), 0.0, "{:.0f}"),
    Goal(
        "import, times `logging, socket, json, zlib`",
        "<= 1.5",
        lambda s: pick(s, "imports", "ratio", imports="batchudp_handler"),
        1.5,
    ),
    Goal(
        "wake-ups a second of an idle handler",
        "<= 1",
        lambda s: pick(s, "rest", "wakes", handler="batchudp"),
        1.0,
    ),
    Goal(
        "cost of a record in a burst of 1,000,000, times that of 10,000",
        "<= 1.25",
        _growth_of_bursts,
        1.25,
    ),
)


def goals(suites: Suites) -> str:
    """The targets beside what was found."""
    lines = [goal.line(suites) for goal in GOALS]
    return "\n".join(
        ["| figure | target | found | reached |", "| --- | --- | ---: | --- |", *lines]
    )


@dataclass(frozen=True, slots=True)
class Contest:
    """A figure that others may be better at."""

    what: str
    suite: str
    figure: str
    who: str
    """The figure's column with the names."""
    ours: str
    form: str = "{:.1f}"
    more_is_better: bool = False

    def line(self, suites: Suites, where: Mapping[str, object]) -> str | None:
        """Who is better than ours, if anybody is."""
        rows = [r for r in suites.get(self.suite, []) if all(r[k] == v for k, v in where.items())]
        own = [r[self.figure] for r in rows if r[self.who] == self.ours]
        if not own:
            return None
        sign = -1 if self.more_is_better else 1
        better = [
            f"{r[self.who]} {self.form.format(r[self.figure])}"
            for r in sorted(rows, key=lambda r: sign * float(r[self.figure]))
            if sign * r[self.figure] < sign * own[0] and not r[self.who].startswith(_NOT_OTHERS)
        ]
        if not better:
            return None
        context = "".join(f", {value}" for value in where.values())
        return f"- {self.what}{context}: {'; '.join(better)} (ours {self.form.format(own[0])})"


_NOT_OTHERS = ("batchudp", "NullHandler", "logging", "every module")
_WORKS = tuple({"work": work} for work in ("template", "extras", "text", "exception", "lines"))
_RATES = tuple(
    {"rate": r, "cores": c} for r, c in ((2_000, "all"), (20_000, "all"), (20_000, "one"))
)
CONTESTS: Sequence[tuple[Contest, Sequence[Mapping[str, object]]]] = (
    (
        Contest(
            "processor time of the caller, µs",
            "cost",
            "caller_cpu_over_null",
            "peer",
            "batchudp batch=500",
        ),
        _WORKS,
    ),
    (
        Contest(
            "processor time of the whole process, µs",
            "cost",
            "process_cpu_over_null",
            "peer",
            "batchudp batch=500",
        ),
        _WORKS,
    ),
    (
        Contest(
            "the same in datagrams of 1,472",
            "cost",
            "process_cpu_over_null",
            "peer",
            "batchudp batch=500 1,472 B",
        ),
        _WORKS[:1],
    ),
    (Contest("bytes a record", "cost", "bytes", "peer", "batchudp batch=500"), _WORKS),
    (Contest("p99.9 of a call, µs, at", "latency", "p999", "peer", "batchudp"), _RATES),
    (
        Contest(
            "records/s from end to end into",
            "end_to_end",
            "rate",
            "pipeline",
            "batchudp acknowledged",
            "{:,.0f}",
            more_is_better=True,
        ),
        ({"output": "null"}, {"output": "file"}),
    ),
    (
        Contest(
            "four processes, one file, records/s with a RotatingFileHandler",
            "one_file",
            "rate",
            "way",
            "batchudp acknowledged, RotatingFileHandler",
            "{:,.0f}",
            more_is_better=True,
        ),
        ({},),
    ),
    (Contest("import, ms", "imports", "cpu", "imports", "batchudp_handler"), ({},)),
    (Contest("memory at rest, MB", "rest", "memory_mb", "handler", "batchudp", "{:.2f}"), ({},)),
    (Contest("wake-ups a second", "rest", "wakes", "handler", "batchudp", "{:.2f}"), ({},)),
)


def losses(suites: Suites) -> str:
    """Every figure at which somebody else is better."""
    lines = [contest.line(suites, where) for contest, each in CONTESTS for where in each]
    return "\n".join(line for line in lines if line) or "None in this run."


def circumstances(result: Mapping[str, Any]) -> str:
    """Machine, versions, method."""
    told = result["circumstances"]
    packages = ", ".join(f"{name} {version}" for name, version in told["packages"].items())
    length = "full" if told["full"] else "quick"
    corpus = f"; lines of {told['corpus']}" if told.get("corpus") else ""
    return (
        f"Measured {told['when']} in one {length} run of {told['seconds'] / 60:.0f} minutes: "
        f"{told['python']}, {told['system']}, {told['processor']}, {told['cores']} cores; load "
        f"{told['load_before']} before and {told['load_after']} after{corpus}. {packages}."
        + _finished(result["suites"])
    )


def _finished(suites: Mapping[str, Any]) -> str:
    times = [f"{n} {s['when'][11:16]} at {s['load']}" for n, s in suites.items() if "when" in s]
    return f"\n\nFinish time and load average of each suite: {', '.join(times)}." if times else ""


def part(name: str, result: Mapping[str, Any]) -> str:
    """What stands between the marks of that name."""
    suites: Suites = {key: suite["rows"] for key, suite in result["suites"].items()}
    if name == "circumstances":
        return circumstances(result)
    if name == "goals":
        return goals(suites)
    if name == "losses":
        return losses(suites)
    suite, _, work = name.partition("/")
    rows: Sequence[Row] = suites.get(suite, [])
    if suite == "cost":
        rows = [r for r in rows if r["work"] == work and r["peer"] != "NullHandler"]
    if not rows:
        return "Not measured in this run."
    return as_markdown(suite, rows, without="work" if suite == "cost" else "")


def filled(page: str, result: Mapping[str, Any]) -> str:
    """The page with what belongs between its marks."""
    return MARK.sub(lambda m: f"{m[1]}\n{part(m[2], result)}\n\n{m[3]}", page)


def publish(result: Mapping[str, Any]) -> None:
    """Write the page and draw the pictures."""
    PAGE.write_text(filled(PAGE.read_text("utf-8"), result), "utf-8")
    draw({key: suite["rows"] for key, suite in result["suites"].items()}, FOLDER)


if __name__ == "__main__":
    publish(json.loads(RESULTS.read_text("utf-8")))
