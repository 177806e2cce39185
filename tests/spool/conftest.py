"""A spool directory for each test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batchudp_handler.spool import SpoolDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Iterator[SpoolDirectory]:
    """A spool directory that is closed at the end."""
    directory = SpoolDirectory(tmp_path / "spool")
    yield directory
    directory.close()
