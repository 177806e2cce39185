"""The manual pages say what the commands take."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted((REPOSITORY / "man").glob("*.1"))


def test_the_pages_are_what_the_parsers_say() -> None:
    """`python man/make.py` would change nothing; run it if it would."""
    command = [sys.executable, str(REPOSITORY / "man" / "make.py"), "--check"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_is_good_roff(page: Path, require: Callable[[str], str]) -> None:
    """groff has no warning about it, and shows the first option with its dashes."""
    command = [require("groff"), "-man", "-ww", "-Tascii", str(page)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(r".\x08", "", done.stdout)  # bold letters are printed twice
    assert "--version" in shown


def test_the_pages_are_installed() -> None:
    """The wheel puts each page where `man` looks, and the sdist has them all."""
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]
    targets = build["build"]["targets"]

    assert targets["wheel"]["shared-data"] == {
        f"man/{page.name}": f"share/man/man1/{page.name}" for page in PAGES
    }
    assert "/man" in targets["sdist"]["include"]
