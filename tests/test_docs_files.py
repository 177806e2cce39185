"""Does every file say which question it answers, and is the glossary complete?"""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
FILES = runpy.run_path(str(REPOSITORY / "docs" / "_ext" / "files.py"))
QUESTIONS = dict(FILES["questions"](REPOSITORY))


def test_every_file_says_what_it_is_for() -> None:
    """No file begins without a line that says which question it answers."""
    assert [str(path) for path, said in QUESTIONS.items() if not said] == []


@pytest.mark.parametrize("folder", FILES["PLACES"])
def test_no_folder_is_forgotten(folder: str) -> None:
    """The page lists files of each folder that belongs to the source tree."""
    assert any(path.parts[0] == folder for path in QUESTIONS)


def test_the_source_distribution_has_the_same_folders() -> None:
    """What is uploaded as source is what the page lists."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    include = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

    assert {f"/{folder}" for folder in FILES["PLACES"]} <= set(include)
