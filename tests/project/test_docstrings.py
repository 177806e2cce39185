"""Docstrings are statements: whoever reads `help()` gets an answer, not a question."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parent.parent.parent
FOLDERS = ("src", "tests", "fuzz", "benchmarks", "formal", "examples", "docs", "man")
FILES = sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def questions(tree: ast.Module) -> Iterator[str]:
    """Yield the first paragraphs of docstrings in which a sentence ends in a question mark."""
    for node in ast.walk(tree):
        if isinstance(node, Documented):
            summary = (ast.get_docstring(node) or "").partition("\n\n")[0]
            if any(word.endswith("?") for word in summary.split()):
                yield " ".join(summary.split())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_docstrings_are_statements(path: Path) -> None:
    """No module, class or function is introduced by a question."""
    assert list(questions(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "text", ["What is this?", "The receiver: does it receive?\n\nIt does.", "Is it\none?"]
)
def test_a_question_would_be_noticed(text: str) -> None:
    """In the first line, behind a colon, and over two lines."""
    assert list(questions(ast.parse(f'"""{text}"""')))
    assert list(questions(ast.parse(f'def f():\n    """{text}"""')))
