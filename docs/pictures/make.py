"""Makes the pictures of the documentation.

python docs/pictures/make.py [PICTURE ...]

`demo` runs `examples/demo.py` and shows what its terminal shows, with the name of this machine
replaced; `top` shows what `batchudp-receive top` draws (rich is needed) while three clients send,
one of them over a network that loses datagrams, with the addresses replaced; `architecture` is
drawn from the tables below. Each comes in a light and a dark version.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
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
RATES = {"shop": 200, "intranet": 80, "billing": 40}
"""Records per second of the clients that `top` sees; the last one's network is bad."""
COLUMNS, ROWS, FRAMES = 96, 9, 5
"""The terminal in which `top` runs, and the drawing that is shown."""
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of one version."""

    paper: str
    panel: str
    inner: str
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
        inner="#ffffff",
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
        inner="#0d1117",
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


def script(name: str, *flags: str) -> list[str]:
    """One of the package's commands, as installed beside this Python."""
    return [str(Path(sys.executable).parent / name), *flags]


def lines_of_top() -> list[str]:
    """What `batchudp-receive top` draws on a terminal."""
    from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place, ready = ("--control-socket", str(folder / "control")), folder / "ready"
        flags = ("--host", "127.0.0.1", "--port", "0", "--ready-file", str(ready), *place)
        started(stack, script("batchudp-receive", *flags, "--output", os.devnull))
        wait_until(ready.exists)
        host, _, port = ready.read_text("utf-8").strip().rpartition(":")
        bad = Scenario.steady(to_receiver=Faults(loss=0.2), seed=1)
        proxy = stack.enter_context(FaultProxy((host, int(port)), bad))
        for name, rate in RATES.items():
            target = f"{host}:{proxy.address[1] if name == 'billing' else port}"
            sender = ("--target-host", target, "--batch-interval", "0.2", "--logger", name)
            pace = ("--logs-per-second", str(rate), "--run-time", str(PATIENCE))
            started(stack, script("batchudp-send", *sender, *pace))
        drawn = last_drawing(stack, script("batchudp-receive", "top", *place))
    return ["$ batchudp-receive top", *with_other_addresses(drawn)]


def started(
    stack: contextlib.ExitStack, command: list[str], screen: int = subprocess.DEVNULL
) -> None:
    """Start a process, which ends with the stack."""
    process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=subprocess.DEVNULL)
    stack.callback(process.wait, PATIENCE)
    stack.callback(process.send_signal, signal.SIGTERM)


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll it."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit("waited in vain")
        time.sleep(0.02)


def last_drawing(stack: contextlib.ExitStack, command: list[str]) -> list[str]:
    """The lines of a command's last complete drawing on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    stack.callback(os.close, ours)
    started(stack, command, theirs)
    os.close(theirs)
    seen = b""
    while seen.count(b"\x1b[H") < FRAMES + 2:  # the first one clears the screen
        seen += os.read(ours, 65_536)
    drawn = seen.decode().split("\x1b[H")[FRAMES]
    lines = [line.rstrip() for line in drawn.replace("\r", "").split("\n")]
    return [line for line in lines if re.sub(r"\x1b\[[\d;?]*[a-z]", "", line).strip()]


def with_other_addresses(lines: list[str]) -> Iterator[str]:
    """Each sender on a machine of its own, with an address that is kept for documentation."""
    for number, line in enumerate(lines):
        yield line.replace("127.0.0.1:", f"192.0.2.{number}:")


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


def terminal(lines: list[str], title: str, theme: Theme) -> str:
    """A window with these lines."""
    step, left, top, width = 19, 18, 44, 800
    height = top + step * len(lines) + 8
    parts = [box(0.5, 0.5, width - 1, height - 1, theme.panel, theme.line)]
    parts += [f'<circle cx="{x}" cy="18" r="5" fill="{theme.line}"/>' for x in (20, 38, 56)]
    for number, line in enumerate(lines):
        words = "".join(spans(line, theme))
        keep = ' xml:space="preserve"'
        parts.append(text(left, top + step * number, words, theme.ink, keep))
    return picture(width, height, title, MONO, parts)


# --- the architecture ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Module:
    """A module or package, what it does, and the steps of a record's path in it."""

    module: str
    task: str
    x: int
    y: int
    steps: tuple[int, ...] = ()


LEFT, RIGHT, MODULE_WIDTH, MODULE_HEIGHT = 36, 486, 378, 40
MODULES = (
    Module("handler.py", "takes log calls", LEFT, 84, (1,)),
    Module("flusher", "background thread", LEFT, 132, (3, 4)),
    Module("transport", "sends datagrams", LEFT, 180, (7,)),
    Module("spool", "datagrams on disk", LEFT, 228),
    Module("receiver/reemit.py", "calls local loggers", RIGHT, 84, (10,)),
    Module("receiver/worker.py", "decodes, runs handlers", RIGHT, 132, (9,)),
    Module("receiver/receive_socket.py", "reads datagrams", RIGHT, 180, (8,)),
    Module("cli", "commands", RIGHT, 228),
    Module("core/send/session.py", "what is sent, and when", LEFT, 310, (4, 5)),
    Module("core/send/delivery.py", "sent once, or until acked", LEFT, 358, (7,)),
    Module("core/send/splitter.py", "batches per datagram", LEFT, 406, (5,)),
    Module("core/receive/receiver.py", "receiver protocol", RIGHT, 310, (8,)),
    Module("core/receive/window.py", "seen, lost, late", RIGHT, 358, (8,)),
    Module("core/receive/reassembly.py", "joins fragments", RIGHT, 406, (8,)),
    Module("core/records", "record ⇄ values", LEFT, 488, (2, 9)),
    Module("core/payload", "values ⇄ payload", LEFT, 536, (5, 9)),
    Module("core/wire", "payload ⇄ datagram, keys", RIGHT, 488, (6, 8)),
    Module("core/output", "lines that wait", RIGHT, 536),
)
LAYERS = (
    (("sending shell", "receiving shell"), 62, 216),
    (("sending core", "receiving core"), 288, 168),
    (("shared core",), 466, 120),
)


def layers(theme: Theme) -> str:
    """Return the picture of all layers, with the path of a record as numbers."""
    parts = [box(0.5, 0.5, 899, 609, theme.paper, theme.line)]
    strong = ' font-size="15" font-weight="600"'
    parts.append(text(LEFT, 34, "your program", theme.ink, strong))
    parts.append(text(RIGHT, 34, "receiving program, or batchudp-receive", theme.ink, strong))
    small = ' font-size="11" letter-spacing="1"'
    for names, y, height in LAYERS:
        width = 860 if len(names) == 1 else 410
        for name, x in zip(names, (LEFT, RIGHT), strict=False):
            parts.append(box(x - 16, y, width, height, theme.panel, theme.line))
            parts.append(text(x, y + 15, name, theme.faint, small))
    for module in MODULES:
        parts += drawn(module, theme)
    parts += arrow(theme)
    return picture(900, 610, "The layers, and the path of one record through them", SANS, parts)


def drawn(module: Module, theme: Theme) -> Iterator[str]:
    """Yield a module with its name, its task and its numbers."""
    yield box(module.x, module.y, MODULE_WIDTH, MODULE_HEIGHT, theme.inner, theme.line)
    mono = f' font-family="{escape(MONO)}"'
    yield text(module.x + 12, module.y + 25, escape(module.module), theme.ink, mono)
    end = module.x + MODULE_WIDTH - 14
    for place, step in enumerate(reversed(module.steps)):
        x, y = end - 7 - 27 * place, module.y + MODULE_HEIGHT / 2
        yield f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{theme.accent}"/>'
        middle = ' text-anchor="middle" font-size="12" font-weight="600"'
        yield text(x, y + 4, str(step), theme.paper, middle)
    words_end = end - 27 * len(module.steps) - 4
    yield text(words_end, module.y + 25, escape(module.task), theme.faint, ' text-anchor="end"')


def arrow(theme: Theme) -> Iterator[str]:
    """Yield the network, between the two sockets."""
    y = 200
    stroke = f'stroke="{theme.accent}" stroke-width="2" fill="none"'
    yield f'<path d="M 416 {y} H 480 M 472 {y - 6} L 481 {y} L 472 {y + 6}" {stroke}/>'
    small = ' text-anchor="middle" font-size="11"'
    yield text(450, y - 12, "UDP", theme.accent, small)


# --- all -----------------------------------------------------------------------------------------


def demo() -> Callable[[Theme], str]:
    """What draws the demo; it runs once for both versions."""
    lines = lines_of_demo()
    return lambda theme: terminal(lines, "What make demo prints", theme)


def top() -> Callable[[Theme], str]:
    """What draws the operator's table."""
    lines = lines_of_top()
    return lambda theme: terminal(lines, "What batchudp-receive top draws", theme)


def architecture() -> Callable[[Theme], str]:
    """Return what draws the architecture."""
    return layers


PICTURES = {"demo": demo, "top": top, "architecture": architecture}


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
