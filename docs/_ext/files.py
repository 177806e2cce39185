"""The files of the repository, each with the sentence that describes it in its first lines.

The page `files` is made from this. Data files (vectors, corpora) are left out.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS = ("src", "tests", "benchmarks", "formal", "fuzz", "examples", "deploy", "docs")
PLACES = (*FOLDERS, ".ci", ".github")
DATA = {"__pycache__", "_build", "corpus", "regressions"}
COMMENTED = {".toml", ".yml", ".yaml", ".sh", ".ini", ".service", ".socket", ".cff", ""}
TOP = ("Makefile", "pyproject.toml", "tox.ini", ".env.example", "CITATION.cff")


def descriptions(repository: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file, relative to the top, with its description."""
    for path in [*_top(repository), *_below(repository)]:
        description = description_of(path)
        if description is not None:
            yield path.relative_to(repository), description


def _top(repository: Path) -> list[Path]:
    return [*(repository / name for name in TOP), *sorted(repository.glob("*.md"))]


def _below(repository: Path) -> Iterator[Path]:
    for place in PLACES:
        for path in sorted((repository / place).rglob("*")):
            is_hidden = any(
                part.startswith(".") for part in path.relative_to(repository).parts[1:]
            )
            if path.is_file() and not is_hidden and not DATA & set(path.parts):
                yield path


def description_of(path: Path) -> str | None:
    """Return the description of a file: None if its kind has none, "" if it is missing."""
    if path.suffix == ".py":
        tree = ast.parse(path.read_text("utf-8"))
        summary = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
        # a package marker may be empty
        return summary or ("" if tree.body else None)
    if path.suffix == ".md":
        return _title(path.read_text("utf-8"))
    if path.suffix == ".pml":
        return path.read_text("utf-8").splitlines()[1].strip(" *")
    if path.suffix in COMMENTED or path.name.startswith(("Dockerfile", ".env")):
        # examples of other programs' configuration need no description
        return _comment(path.read_text("utf-8")) or (None if path.suffix == ".ini" else "")
    return None


def _title(page: str) -> str | None:
    found = re.search(r"^# (.+)$", page, re.MULTILINE)
    return found[1] if found else None


def _comment(text: str) -> str:
    """Return the first sentence of the comment at the top; a shebang is skipped."""
    lines = [line for line in text.splitlines() if not line.startswith("#!")]
    words: list[str] = []
    for line in lines:
        if not line.startswith(("# ", "; ")):
            break
        words.append(line[2:].strip())
    return re.split(r"(?<=[?.:])\s", " ".join(words), maxsplit=1)[0]
