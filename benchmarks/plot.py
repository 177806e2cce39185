"""The figures as pictures.

By hand, as SVG, so that no plotting library has to be kept: each picture is text with rectangles
and circles, once for a light page and once for a dark one, on a transparent ground. Ours are in
colour, everything else is grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lab import Row

WIDTH, LEFT, RIGHT, LINE, TOP = 760, 250, 90, 26, 64


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours that can be told apart on one kind of page."""

    name: str
    ink: str
    faint: str
    rule: str
    ours: str
    ours_soft: str
    other: str
    other_soft: str


THEMES = (
    Theme("light", "#1f2328", "#59636e", "#d1d9e0", "#0f6cbd", "#86bbe8", "#7d8590", "#c4cad1"),
    Theme("dark", "#e6edf3", "#9198a1", "#3d444d", "#5cb3ff", "#27608f", "#9aa3ad", "#4b535c"),
)


@dataclass(slots=True)
class Picture:
    """Shapes, in the order in which they were drawn."""

    theme: Theme
    title: str
    note: str
    height: int
    shapes: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, words: str, *, at: str = "start", bold: bool = False
    ) -> None:
        """A line of words."""
        weight = ' font-weight="600"' if bold else ""
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{at}"{weight}>{escape(words)}</text>'
        )

    def faint(self, x: float, y: float, words: str, *, at: str = "start") -> None:
        """A smaller line of words, in the background."""
        colour = self.theme.faint
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{at}" font-size="11" fill="{colour}">'
            f"{escape(words)}</text>"
        )

    def bar(self, x: float, y: float, width: float, colour: str) -> None:
        """From left to right."""
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="15" rx="2"'
            f' fill="{colour}"/>'
        )

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """One figure."""
        self.shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def line(self, x: float, y: float, x2: float, y2: float) -> None:
        """A thin rule."""
        self.shapes.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            f' stroke="{self.theme.rule}"/>'
        )

    def svg(self) -> str:
        """The whole file."""
        self.text(16, 24, self.title, bold=True)
        self.faint(16, 42, self.note)
        size = f'width="{WIDTH}" height="{self.height}" viewBox="0 0 {WIDTH} {self.height}"'
        font = "system-ui, -apple-system, 'Segoe UI', sans-serif"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-size="13"'
            f' font-family="{font}" fill="{self.theme.ink}">\n'
            f"<title>{escape(self.title)}</title>\n" + "\n".join(self.shapes) + "\n</svg>\n"
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """A name, a length, and how much of it is drawn strongly."""

    name: str
    length: float
    strong: float | None = None


def is_ours(name: str) -> bool:
    """Whether it gets the colour."""
    return name.startswith("batchudp")


def bars(theme: Theme, title: str, note: str, form: str, rows: Sequence[Bar]) -> str:
    """One bar for each row, in the order given."""
    picture = Picture(theme, title, note, TOP + LINE * len(rows) + 10)
    longest = max(row.length for row in rows)
    for number, row in enumerate(rows):
        y = TOP + LINE * number
        colour = theme.ours if is_ours(row.name) else theme.other
        soft = theme.ours_soft if is_ours(row.name) else theme.other_soft
        picture.text(LEFT - 10, y + 12, row.name, at="end", bold=is_ours(row.name))
        width = (WIDTH - LEFT - RIGHT) * max(row.length, 0.0) / longest
        if row.strong is not None:
            picture.bar(LEFT, y, width, soft)
            width_strong = width * min(1.0, max(row.strong, 0.0) / max(row.length, 1e-9))
            picture.bar(LEFT, y, width_strong, colour)
        else:
            picture.bar(LEFT, y, width, colour)
        picture.text(LEFT + width + 8, y + 12, form.format(row.length))
    return picture.svg()


def latency(theme: Theme, title: str, note: str, rows: Sequence[Row]) -> str:
    """For each handler four dots on a logarithmic axis."""
    picture = Picture(theme, title, note, TOP + LINE * len(rows) + 44)
    highest = max(row["max"] for row in rows)
    decades = math.ceil(math.log10(highest))

    def at(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 40) * math.log10(max(value, 1.0)) / decades

    bottom = TOP + LINE * len(rows)
    for decade in range(decades + 1):
        x = at(10**decade)
        picture.line(x, TOP - 8, x, bottom)
        micro = 10**decade
        words = f"{micro} µs" if micro < 1_000 else f"{micro // 1_000} ms"
        picture.faint(x, bottom + 16, words, at="middle")
    for number, row in enumerate(rows):
        y = TOP + LINE * number + 8
        colour = theme.ours if is_ours(row["peer"]) else theme.other
        soft = theme.ours_soft if is_ours(row["peer"]) else theme.other_soft
        picture.text(LEFT - 10, y + 4, row["peer"], at="end", bold=is_ours(row["peer"]))
        picture.line(at(row["p50"]), y, at(row["max"]), y)
        for name, radius in (("p50", 3), ("p99", 4), ("max", 3)):
            picture.dot(at(row[name]), y, radius, soft)
        picture.dot(at(row["p999"]), y, 6, colour)
    picture.faint(LEFT, bottom + 34, "small dots: p50, p99, and the longest; large dot: p99.9")
    return picture.svg()


def _short(name: str) -> str:
    return name.replace("QueueHandler + DatagramHandler", "QueueHandler + Datagram").replace(
        "multiprocessing queue + QueueListener", "multiprocessing queue"
    )


def _cost_bars(rows: Sequence[Row]) -> list[Bar]:
    chosen = [r for r in rows if r["work"] == "template" and r["peer"] != "NullHandler"]
    chosen.sort(key=lambda r: float(r["process_cpu_over_null"]))
    return [
        Bar(_short(r["peer"]), r["process_cpu_over_null"], r["caller_cpu_over_null"])
        for r in chosen
    ]


def _byte_bars(rows: Sequence[Row]) -> list[Bar]:
    chosen = [r for r in rows if r["work"] == "template" and r["bytes"]]
    return [
        Bar(_short(r["peer"]), r["bytes"]) for r in sorted(chosen, key=lambda r: float(r["bytes"]))
    ]


def _file_bars(rows: Sequence[Row]) -> list[Bar]:
    ways = sorted(rows, key=lambda r: -float(r["rate"]))
    return [
        Bar(
            r["way"].replace(" acknowledged, batchudp-receive", " receive")[:36]
            + (" (loses lines)" if r["lost"] else ""),
            r["rate"],
        )
        for r in map(_renamed, ways)
    ]


def _renamed(row: Row) -> Row:
    names = {
        "RotatingFileHandler in each process": "one handler each",
        "multiprocessing queue + QueueListener": "multiprocessing queue",
        "SocketHandler, cookbook receiver": "cookbook socket receiver",
        "batchudp acknowledged, RotatingFileHandler": "batchudp, RotatingFileHandler",
        "batchudp acknowledged, batchudp-receive --output": "batchudp-receive --output",
    }
    return {**row, "way": names.get(row["way"], row["way"])}


def draw(suites: Mapping[str, Sequence[Row]], folder: Path) -> list[Path]:
    """Every picture that these figures allow, in both themes."""
    drawn: list[Path] = []
    for theme in THEMES:
        pictures: dict[str, str] = {}
        if "cost" in suites:
            pictures["cost"] = bars(
                theme,
                "Processor time of one log record",
                "microseconds beyond NullHandler; strong: the caller's part; less is better",
                "{:.1f}",
                _cost_bars(suites["cost"]),
            )
            pictures["bytes"] = bars(
                theme,
                "Bytes on the wire for one log record",
                "a template with four arguments that change; less is better",
                "{:.0f}",
                _byte_bars(suites["cost"]),
            )
        if "latency" in suites:
            rows = [r for r in suites["latency"] if r["rate"] == 20_000 and r["cores"] == "all"]
            pictures["latency"] = latency(
                theme,
                "How long one call takes, at 20,000 calls a second",
                "logarithmic; further left is better",
                [{**r, "peer": _short(r["peer"])} for r in rows],
            )
        if "one_file" in suites:
            pictures["one-file"] = bars(
                theme,
                "Four processes, one rotating file",
                "records a second until the last line is in the file; more is better",
                "{:,.0f}",
                _file_bars(suites["one_file"]),
            )
        for name, svg in pictures.items():
            path = folder / f"{name}-{theme.name}.svg"
            path.write_text(svg, "utf-8")
            drawn.append(path)
    return drawn
