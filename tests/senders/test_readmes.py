"""The example in each README runs as it stands, and its records arrive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.log_receiver import LogReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SENDERS = Path(__file__).parents[2] / "senders"
PAID = ("INFO", "shop", "order A-17 paid")


def example(folder: str, port: int) -> str:
    """Return the code of the README, for a receiver on another port."""
    text = (SENDERS / folder / "README.md").read_text("utf-8")
    found = re.search(r"```\w+\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1].replace("9999", str(port))


def run(command: list[str], folder: Path, environ: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an example is written."""
    return tmp_path


def arrived(receiver: LogReceiver, n: int) -> list[tuple[str, str, str]]:
    return [(r.levelname, r.name, r.getMessage()) for r in receiver.wait_for(n, timeout=20)]


def test_python(folder: Path) -> None:
    """The handler is closed by `logging` at the end of the program."""
    with LogReceiver() as receiver:
        (folder / "program.py").write_text(example("python", receiver.address[1]))
        environ = {"PYTHONPATH": str(SENDERS / "python")}
        run([sys.executable, "-W", "error", "program.py"], folder, environ)
        assert arrived(receiver, 1) == [PAID]
        assert vars(receiver.records[0])["amount"] == 12.5


def test_javascript(folder: Path, require: Callable[[str], str]) -> None:
    """The package is found by its name, and an error brings its stack."""
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "batchudp-sender").symlink_to(SENDERS / "javascript")
    with LogReceiver() as receiver:
        (folder / "program.js").write_text(example("javascript", receiver.address[1]))
        run([require("node"), "program.js"], folder)
        assert arrived(receiver, 2) == [PAID, ("ERROR", "shop", "the answer is no JSON")]
        first, second = receiver.records
    assert vars(first)["amount"] == 12.5
    assert "SyntaxError" in (second.exc_text or "")
    assert "program.js:6" in (second.exc_text or "")


def test_c(folder: Path, require: Callable[[str], str]) -> None:
    """The example compiles with the compiler's own defaults."""
    with LogReceiver() as receiver:
        (folder / "program.c").write_text(example("c", receiver.address[1]))
        include = f"-I{SENDERS / 'c'}"
        run([require("gcc"), "-Wall", "-Werror", include, "program.c", "-o", "program"], folder)
        run(["./program"], folder)
        assert arrived(receiver, 1) == [("INFO", "shop", "order A-17 paid: 12.50")]


def test_shell(folder: Path, require: Callable[[str], str]) -> None:
    """One record, and two lines of a program."""
    require("nc")
    (folder / "batchudp.sh").symlink_to(SENDERS / "shell" / "batchudp.sh")
    with LogReceiver() as receiver:
        (folder / "program.sh").write_text(example("shell", receiver.address[1]))
        run(["sh", "-eu", "program.sh"], folder)
        assert arrived(receiver, 3) == [
            ("WARNING", "shell", "disk is at 93%"),
            ("INFO", "backup", "line one"),
            ("INFO", "backup", "line two"),
        ]


def test_types_name_what_is_exported() -> None:
    """`index.d.ts` declares every export of the JavaScript package, and nothing else."""
    code = (SENDERS / "javascript" / "index.js").read_text("utf-8")
    exports = re.search(r"module.exports = \{ (.*?) \}", code)
    assert exports
    types = (SENDERS / "javascript" / "index.d.ts").read_text("utf-8")
    declared = re.findall(r"^export (?:class|function) (\w+)", types, re.MULTILINE)
    assert sorted(declared) == sorted(exports[1].split(", "))
