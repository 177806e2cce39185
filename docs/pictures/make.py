"""How are the pictures of the documentation made?

python docs/pictures/make.py [PICTURE ...]

`demo` runs `examples/demo.py` and shows what its terminal shows, with the name of this machine
replaced; `architecture` is drawn from the tables below. Each comes in a light and a dark version.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HERE = Path(__file__).parent
DEMO = HERE.parent.parent / "examples" / "demo.py"
SECONDS = "2"
HEAD, TAIL = 10, 8
"""Lines that the picture of the demo shows from its beginning and from its end."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of one version."""

    paper: str
    panel: str
    room: str
    line: str
    ink: str
    faint: str
    accent: str
    levels: dict[str, str]
    """By the number that the terminal is told."""


THEMES = {
    "light": Theme(
        paper="#ffffff",
        panel="#f6f8fa",
        room="#ffffff",
        line="#8c959f",
        ink="#1f2328",
        faint="#59636e",
        accent="#0a5cc2",
        levels={
            "31": "#b3261e",
            "32": "#116329",
            "33": "#7a4e00",
            "36": "#0b5c7a",
            "2": "#59636e",
        },
    ),
    "dark": Theme(
        paper="#0d1117",
        panel="#161b22",
        room="#0d1117",
        line="#6e7681",
        ink="#e6edf3",
        faint="#9ea7b3",
        accent="#6cb0ff",
        levels={
            "31": "#ff8f86",
            "32": "#6fdd8b",
            "33": "#f2c14e",
            "36": "#76d7ea",
            "2": "#9ea7b3",
        },
    ),
}
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def text(x: float, y: float, words: str, fill: str, extra: str = "") -> str:
    """One line of text."""
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}"{extra}>{words}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, line: str) -> str:
    """A rectangle with round corners."""
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {size} rx="8" fill="{fill}" stroke="{line}"/>'


def picture(width: float, height: float, title: str, font: str, parts: Iterable[str]) -> str:
    """The whole file."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
    head += f' width="{width:g}" role="img" font-family="{escape(font)}" font-size="13">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *parts, "</svg>", ""])


# --- the terminal --------------------------------------------------------------------------------


def lines_of_demo() -> list[str]:
    """What the demo prints to a terminal with colours."""
    done = subprocess.run(
        [sys.executable, str(DEMO), SECONDS],
        env={**os.environ, "FORCE_COLOR": "1", "NO_COLOR": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    printed = done.stdout.replace(f" {socket.gethostname()} ", " web-1 ").splitlines()
    return ["$ make demo", *printed[:HEAD], "…", *printed[-TAIL:]]


def spans(line: str, theme: Theme) -> Iterator[str]:
    """The pieces of a line, each in the colour that the terminal was told."""
    colour = ""
    for piece in re.split(r"(\x1b\[[\d;]*m)", line):
        code = re.fullmatch(r"\x1b\[([\d;]*)m", piece)
        if code:
            colour = theme.levels.get(code[1].split(";")[-1], "")
        elif piece:
            fill = f' fill="{colour}"' if colour else ""
            yield f"<tspan{fill}>{escape(piece)}</tspan>"


def terminal(lines: list[str], theme: Theme) -> str:
    """A window with these lines."""
    step, left, top, width = 19, 18, 44, 800
    height = top + step * len(lines) + 8
    parts = [box(0.5, 0.5, width - 1, height - 1, theme.panel, theme.line)]
    parts += [f'<circle cx="{x}" cy="18" r="5" fill="{theme.line}"/>' for x in (20, 38, 56)]
    for number, line in enumerate(lines):
        words = "".join(spans(line, theme))
        keep = ' xml:space="preserve"'
        parts.append(text(left, top + step * number, words, theme.ink, keep))
    return picture(width, height, "What make demo prints", MONO, parts)


# --- the house -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Room:
    """A module or package, what it does, and the steps of the walk of a record in it."""

    module: str
    task: str
    x: int
    y: int
    steps: tuple[int, ...] = ()


LEFT, RIGHT, ROOM_WIDTH, ROOM_HEIGHT = 36, 476, 388, 40
ROOMS = (
    Room("handler.py", "takes records", LEFT, 84, (1,)),
    Room("flusher", "the only thread", LEFT, 132, (4,)),
    Room("transport", "the only socket", LEFT, 180, (7,)),
    Room("spool", "the only files", LEFT, 228),
    Room("receiver/reemit.py", "into local loggers", RIGHT, 84, (10,)),
    Room("receiver/worker.py", "decodes, runs handlers", RIGHT, 132, (9,)),
    Room("receiver/receive_socket.py", "the only socket", RIGHT, 180, (8,)),
    Room("cli", "what people see", RIGHT, 228),
    Room("core/buffer.py", "waits, is dropped", LEFT, 310, (3,)),
    Room("core/sender.py", "the machine", LEFT, 358, (5,)),
    Room("core/splitter.py", "into datagrams", LEFT, 406, (5,)),
    Room("core/receiver.py", "the machine", RIGHT, 310, (8,)),
    Room("core/receive_window.py", "seen, lost, late", RIGHT, 358, (8,)),
    Room("core/reassembly.py", "of fragments", RIGHT, 406, (8,)),
    Room("core/snapshot.py", "record ⇄ values", LEFT, 488, (2, 9)),
    Room("core/codec.py", "values ⇄ payload", LEFT, 536, (5, 9)),
    Room("core/wire.py", "payload ⇄ datagram", RIGHT, 488, (6, 8)),
    Room("core/auth.py", "tags of keys", RIGHT, 536, (6, 8)),
)
STOREYS = (("shell: does", 62, 216), ("core: decides", 288, 168), ("core, both sides", 466, 120))


def house(theme: Theme) -> str:
    """All rooms, and the way of a record through them by numbers."""
    parts = [box(0.5, 0.5, 899, 609, theme.paper, theme.line)]
    strong = ' font-size="15" font-weight="600"'
    parts.append(text(LEFT, 34, "your program", theme.ink, strong))
    parts.append(text(RIGHT, 34, "far program, or batchudp-receive", theme.ink, strong))
    for name, y, height in STOREYS:
        whole = y > 460
        sides = [(20, 860)] if whole else [(20, 420), (460, 420)]
        parts += [box(x, y, width, height, theme.panel, theme.line) for x, width in sides]
        small = ' font-size="11" letter-spacing="1"'
        parts.append(text(LEFT, y + 15, escape(name), theme.faint, small))
    for room in ROOMS:
        parts += drawn(room, theme)
    parts += arrow(theme)
    return picture(900, 610, "The house, and the walk of one record through it", SANS, parts)


def drawn(room: Room, theme: Theme) -> Iterator[str]:
    """A room with its name, its task and its numbers."""
    yield box(room.x, room.y, ROOM_WIDTH, ROOM_HEIGHT, theme.room, theme.line)
    mono = f' font-family="{escape(MONO)}"'
    yield text(room.x + 12, room.y + 25, escape(room.module), theme.ink, mono)
    end = room.x + ROOM_WIDTH - 14
    for place, step in enumerate(reversed(room.steps)):
        x, y = end - 7 - 27 * place, room.y + ROOM_HEIGHT / 2
        yield f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{theme.accent}"/>'
        middle = ' text-anchor="middle" font-size="12" font-weight="600"'
        yield text(x, y + 4, str(step), theme.paper, middle)
    words_end = end - 27 * len(room.steps) - 4
    yield text(words_end, room.y + 25, escape(room.task), theme.faint, ' text-anchor="end"')


def arrow(theme: Theme) -> Iterator[str]:
    """The network, between the two sockets."""
    y = 200
    stroke = f'stroke="{theme.accent}" stroke-width="2" fill="none"'
    yield f'<path d="M 426 {y} H 470 M 462 {y - 6} L 471 {y} L 462 {y + 6}" {stroke}/>'
    small = ' text-anchor="middle" font-size="11"'
    yield text(450, y - 12, "UDP", theme.accent, small)


# --- all -----------------------------------------------------------------------------------------


def demo() -> Callable[[Theme], str]:
    """What draws the demo; it runs once for both versions."""
    lines = lines_of_demo()
    return lambda theme: terminal(lines, theme)


def architecture() -> Callable[[Theme], str]:
    """What draws the house."""
    return house


PICTURES = {"demo": demo, "architecture": architecture}


def main() -> None:
    """Make what was asked for, or everything."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("picture", nargs="*", help=", ".join(PICTURES))
    for name in parser.parse_args().picture or PICTURES:
        draw = PICTURES[name]()
        for version, theme in THEMES.items():
            (HERE / f"{name}-{version}.svg").write_text(draw(theme), "utf-8")


if __name__ == "__main__":
    main()
