"""The committed pictures are what their script makes."""

from __future__ import annotations

import re
import runpy
import socket
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from batchudp_handler.cli.top import COLUMNS

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "docs" / "pictures"
PACKAGE = REPOSITORY / "src" / "batchudp_handler"
MAKE = runpy.run_path(str(PICTURES / "make.py"), run_name="make")


def words_of(path: Path) -> str:
    """Everything that a picture says; it has to be XML."""
    return "\n".join("".join(each.itertext()) for each in ET.parse(path).getroot())


@pytest.mark.parametrize("version", ["light", "dark"])
def test_the_architecture_is_current(version: str) -> None:
    """Drawn again, the picture of the architecture is the committed one."""
    drawn = MAKE["layers"](MAKE["THEMES"][version])

    assert drawn == (PICTURES / f"architecture-{version}.svg").read_text("utf-8")


def test_every_module_exists() -> None:
    """The picture of the architecture names files and packages that are there."""
    names = [module.module for module in MAKE["MODULES"]]

    assert [name for name in names if not (PACKAGE / name).exists()] == []


def test_the_path_is_complete() -> None:
    """Each step that the page describes has a number in the picture."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    path = page.partition("## The path of one record")[2].partition("\n## ")[0]
    steps = {int(line.split(".")[0]) for line in path.splitlines() if line[:1].isdigit()}

    assert {step for module in MAKE["MODULES"] for step in module.steps} == steps


@pytest.mark.parametrize("version", ["light", "dark"])
def test_the_demo_ended_well(version: str) -> None:
    """What the picture of the demo shows is a run that lost nothing, on no particular machine."""
    words = words_of(PICTURES / f"demo-{version}.svg")

    assert "$ make demo" in words
    assert "lost 0" in words
    assert "everything arrived" in words
    assert f" {socket.gethostname()} " not in words


@pytest.mark.parametrize("version", ["light", "dark"])
def test_the_operators_table_shows_a_loss(version: str) -> None:
    """The picture of `top` has its columns, three senders, a loss, and no real address."""
    words = words_of(PICTURES / f"top-{version}.svg")
    senders = re.findall(r"^ (\S+:\d+) .* (\d+) +\d+ +\d+ +\d+ +[\d.]+ *$", words, re.MULTILINE)

    assert [name for name in COLUMNS if name not in words] == []
    assert {address.rpartition(".")[0] for address, _ in senders} == {"192.0.2"}
    assert sorted(lost == "0" for _, lost in senders) == [False, True, True]
