"""The programs around the senders, and what the tests ask of each."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
DEADLINE = 20.0
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O1")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a sender says of its records at its end."""

    accepted: int
    sent: int
    dropped: int
    waiting: int


class Driver:
    """One running program around a sender; see `driver.py` for what it understands."""

    def __init__(self, language: str, command: Sequence[str]) -> None:
        self.language = language
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: object) -> str:
        """Send one line and return the answer."""
        return self.ask_all([words])[0]

    def ask_all(self, lines: Sequence[Sequence[object]]) -> list[str]:
        """Send lines and return the answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answers = []
        for words in lines:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
            answers.append(self._process.stdout.readline().rstrip("\n"))
        return answers

    def open(
        self,
        address: tuple[str, int],
        *,
        largest: int = 1_432,
        capacity: int = 10_000,
        numbered: bool = True,
        key: tuple[int, bytes] | None = None,
    ) -> None:
        """Begin to send to `address`."""
        key_id, secret = key or (0, b"")
        words = (largest, capacity, int(numbered), key_id, secret.hex() or "-")
        assert self.ask("open", *address, *words) == "ok"

    def log(self, *texts: str, level: int = 20) -> None:
        """Log texts, one record each."""
        self.ask_all([("log", level, text.encode().hex() or "-") for text in texts])

    def row(self, *rows: str) -> None:
        """Send rows of JSON as they are."""
        self.ask_all([("row", row.encode().hex()) for row in rows])

    def flush(self) -> None:
        """Send what waits."""
        self.ask("flush")

    def close(self) -> Counts:
        """End the sender, and return what it counted."""
        return Counts(*map(int, self.ask("close").split()))

    def end(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(DEADLINE) == 0


@pytest.fixture(scope="session")
def c_driver(require: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program around the C sender, compiled with all warnings as errors."""
    program = tmp_path_factory.mktemp("senders") / "driver"
    command = [require("gcc"), *STRICT, str(HERE / "driver.c"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(program)


@pytest.fixture(params=["python", "javascript", "c"])
def driver(request: pytest.FixtureRequest, require: Callable[[str], str]) -> Iterator[Driver]:
    """Each sender in turn."""
    language: str = request.param
    if language == "python":
        command = [sys.executable, "-W", "error", str(HERE / "driver.py")]
    elif language == "javascript":
        command = [require("node"), str(HERE / "driver.js")]
    else:
        command = [request.getfixturevalue("c_driver")]
    made = Driver(language, command)
    yield made
    made.end()
