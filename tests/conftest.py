"""What do all tests share?  A way to ask for a tool that may be missing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """Give the path of a command; without it skip, or fail where BATCHUDP_REQUIRE is set."""

    def find(command: str) -> str:
        places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        found = shutil.which(command, path=places)
        if found is None and os.environ.get("BATCHUDP_REQUIRE"):
            pytest.fail(f"{command} is not installed, and BATCHUDP_REQUIRE forbids to skip")
        if found is None:
            pytest.skip(f"{command} is not installed")
        return found

    return find
