"""Every file has a description, and the glossary explains each word of the protocol."""

from __future__ import annotations

import re
import runpy
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FILES = runpy.run_path(str(REPOSITORY / "docs" / "_ext" / "files.py"))
DESCRIPTIONS = dict(FILES["descriptions"](REPOSITORY))


def test_every_file_has_a_description() -> None:
    """Every file says in its first lines what it contains."""
    assert [str(path) for path, text in DESCRIPTIONS.items() if not text] == []


@pytest.mark.parametrize("folder", FILES["PLACES"])
def test_no_folder_is_forgotten(folder: str) -> None:
    """The page lists files of each folder that belongs to the source tree."""
    assert any(path.parts[0] == folder for path in DESCRIPTIONS)


def test_the_source_distribution_has_the_same_folders() -> None:
    """The source distribution contains every folder that the page lists."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    include = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

    assert {f"/{folder}" for folder in FILES["PLACES"]} <= set(include)


def test_the_tables_are_made_from_code_that_exists() -> None:
    """Every dotted path that a page gives to a directive leads to a class or a function."""
    pages = sorted((REPOSITORY / "docs").rglob("*.md"))
    texts = [path.read_text("utf-8") for path in pages]
    paths = [
        found
        for text in texts
        for found in re.findall(r"^`{3}\{\w+\} (\w+\.\S+)$", text, re.MULTILINE)
    ]

    assert len(paths) > 10
    for path in paths:
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), path


def entries() -> set[str]:
    """The words that the glossary explains."""
    page = (REPOSITORY / "docs" / "glossary.md").read_text("utf-8")
    body = page.partition("```{glossary}\n")[2].partition("```")[0]
    return {line.strip() for line in body.splitlines() if line and not line.startswith(" ")}


def pages() -> str:
    """All pages but the glossary, in lower case."""
    paths = sorted((REPOSITORY / "docs").rglob("*.md"))
    texts = [path.read_text("utf-8") for path in paths if path.name != "glossary.md"]
    return "\n".join(texts).lower()


def test_the_words_of_the_protocol_are_explained() -> None:
    """Types of datagrams, parts of datagrams and names in acks and syncs are in the glossary."""
    page = (REPOSITORY / "docs" / "protocol" / "datagrams.md").read_text("utf-8")
    shouted = {word.lower() for word in re.findall(r"\b(?:SYNC|ACK|CHALLENGE)S?\b", page)}
    parts = {"header", "body", "trailer", "checksum", "tag", "key", "codec", "baseline"}
    numbers = {"stream", "epoch", "credit", "cookie", "floor", "group", "fragment", "window"}
    fates = {"lost", "missing", "late", "abandoned", "drop", "reject", "refuse", "replay"}
    words = {word.rstrip("s") for word in shouted} | parts | numbers | fates

    assert words - entries() == set()


def test_the_glossary_explains_only_words_in_use() -> None:
    """Every entry of the glossary occurs on some other page."""
    text = pages()

    assert [word for word in sorted(entries()) if word not in text] == []
