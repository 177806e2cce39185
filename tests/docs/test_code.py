"""The code in the documentation does what the page says.

Every page is one program: its Python blocks run in their order, in a process of their own, with
the page's line numbers in every traceback. A block in a comment,

    <!-- test
    code that the reader need not see: set-up, assertions
    -->

runs as well. JSON and TOML blocks must parse. There is no way to leave out a block.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
TIME_LIMIT = 30

DIALECTS = {"python", "json", "toml"}


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of code on a page."""

    language: str
    line: int
    """The page's line on which the code begins, from 1."""
    code: str


def pages() -> list[Path]:
    documentation = (REPOSITORY / "docs").rglob("*.md")
    return sorted(
        path
        for path in [*REPOSITORY.glob("*.md"), *documentation]
        if "_build" not in path.parts and list(blocks_of(path.read_text("utf-8")))
    )


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks in a dialect that can be checked, and the hidden ones."""
    lines = text.splitlines()
    start, fence, language = 0, "", ""
    for number, line in enumerate(lines, start=1):
        mark = line.strip()
        if not fence and (mark.startswith("```") or mark == "<!-- test"):
            fence = "-->" if mark.startswith("<") else mark[: len(mark) - len(mark.lstrip("`"))]
            language = "python" if mark.startswith("<") else mark.lstrip("`").strip()
            start = number
        elif fence and mark == fence:
            if language in DIALECTS:
                code = textwrap.dedent("\n".join(lines[start : number - 1]))
                yield Block(language, start + 1, code)
            fence = ""


def program_of(blocks: list[Block]) -> str:
    """One program in which every line of code has the number that it has on the page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.code.splitlines()
    return "\n".join(lines) + "\n"


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page, in their order, are a program that ends with exit code 0."""
    blocks = [b for b in blocks_of(page.read_text("utf-8")) if b.language == "python"]
    if not blocks:
        pytest.skip("no Python on this page")
    script = tmp_path / (page.stem.replace("-", "_") + "_page.py")
    script.write_text(program_of(blocks), "utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", "REPOSITORY": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )

    assert done.returncode == 0, f"{name_of(page)}:\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_the_data_on_a_page_parses(page: Path) -> None:
    """JSON and TOML blocks are what they say they are."""
    parsers = {"json": json.loads, "toml": tomllib.loads}
    for block in blocks_of(page.read_text("utf-8")):
        if block.language in parsers:
            assert parsers[block.language](block.code) is not None, f"line {block.line}"


def test_the_runner_keeps_line_numbers() -> None:
    """Code is found in fences, lists and comments, each line at its own number."""
    page = (
        "# A\n\n```python\na = 1\n```\n- x\n\n  ```python\n  b = 2\n  ```\n<!-- test\nc = 3\n-->\n"
    )
    expected = ["", "", "", "a = 1", "", "", "", "", "b = 2", "", "", "c = 3"]

    assert program_of(list(blocks_of(page))).splitlines() == expected
