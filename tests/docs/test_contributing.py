"""The map in CONTRIBUTING.md leads to files that exist, and to every folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY, SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
SOURCE = REPOSITORY / "src" / "batchudp_handler"
TESTS = REPOSITORY / "tests"
COLUMNS = {1: SOURCE, 2: TESTS, 3: REPOSITORY}
"""The folder to which the paths in a column are relative."""
HELPERS = {"core", "engines", "integration", "mutants", "scenarios", "typing", "vectors"}
"""Folders that are run for many reasons, or hold only what tests read."""


def rows() -> Iterator[list[list[str]]]:
    """Yield the paths in the cells of each row."""
    table = TEXT.partition("| To change |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_path_exists(column: int) -> None:
    """Nobody is sent to a file that has moved."""
    paths = [path for row in rows() for path in row[column]]

    assert len(paths) > 15
    assert [path for path in paths if not (COLUMNS[column] / path).exists()] == []


@pytest.mark.parametrize(
    ("column", "pattern"), [(1, "[a-z]*/"), (1, "core/[a-z]*/"), (2, "[a-z]*/")]
)
def test_every_folder_is_on_the_map(column: int, pattern: str) -> None:
    """A new folder gets a row, or a place in one."""
    known = {path for row in rows() for path in row[column]} | HELPERS
    folders = COLUMNS[column].glob(pattern)
    found = [path.relative_to(COLUMNS[column]).as_posix() for path in folders]

    assert [path for path in found if path not in known] == []


def test_the_folders_that_make_test_leaves_out_are_named() -> None:
    """As they stand in the code."""
    assert ", ".join(f"`{name}`" for name in SERVERS) in " ".join(TEXT.split())
