"""The package is what people expect to have installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import batchudp_handler

REPOSITORY = Path(__file__).parents[2]

HEAVY = {
    *("asyncio", "http", "email", "urllib", "ssl", "ctypes", "unittest", "doctest"),
    *(
        "multiprocessing",
        "concurrent",
        "subprocess",
        "argparse",
        "tomllib",
        "sqlite3",
        "ipaddress",
    ),
    *("cryptography", "nats", "rich", "prometheus_client", "yaml", "zstandard"),
}
"""Nothing that a program which only logs should have to import."""


def modules_after(statement: str) -> set[str]:
    """The top-level modules of a fresh interpreter that ran one statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    # where coverage is measured, it would be started in there as well, with its own imports
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_types_are_for_users_too() -> None:
    """`py.typed` is in the package, so that type checkers read its annotations."""
    assert resources.files(batchudp_handler).joinpath("py.typed").is_file()


def test_the_public_names_are_there() -> None:
    """`__all__` is complete and sorted, and each of its names exists."""
    public = batchudp_handler.__all__

    assert {"BatchUDPHandler", "BatchUDPReceiver", "BatchUDPError", "__version__"} <= set(public)
    assert list(public) == sorted(public)
    assert [name for name in public if not hasattr(batchudp_handler, name)] == []


def test_the_import_is_light() -> None:
    """Importing the package imports nothing heavy, and no optional library."""
    assert modules_after("import batchudp_handler") & HEAVY == set()


def test_nothing_else_is_needed() -> None:
    """The package has no dependencies, apart from those of its extras."""
    needed = metadata.requires("batchudp-handler") or []

    assert [line for line in needed if "extra ==" not in line] == []


def test_there_is_one_version() -> None:
    """The package, its metadata and the citation agree."""
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")

    assert metadata.version("batchudp-handler") == batchudp_handler.__version__
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [batchudp_handler.__version__]


@pytest.mark.parametrize("script", ["batchudp-receive", "batchudp-send"])
def test_the_scripts_are_installed(script: str) -> None:
    """Both console scripts are beside the interpreter and say their version."""
    path = Path(sys.executable).parent / script

    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert batchudp_handler.__version__ in done.stdout


def test_the_package_runs_as_a_module() -> None:
    """`python -m batchudp_handler` is the receiver."""
    command = [sys.executable, "-m", "batchudp_handler", "--version"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert batchudp_handler.__version__ in done.stdout
