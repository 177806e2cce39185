"""The examples run, and what they send arrives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPReceiver

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
TIME_LIMIT = 60


@pytest.fixture
def target(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """The address of a receiver that feeds this process's logging."""
    caplog.set_level("DEBUG")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        yield "{}:{}".format(*receiver.address[:2])


def run(script: str, *arguments: str, cwd: Path | None = None) -> str:
    """Run an example to its end, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arrived(caplog: pytest.LogCaptureFixture, count: int) -> list[logging.LogRecord]:
    """The records of others, when there are so many."""
    return wait_for(lambda: [r for r in caplog.records if hasattr(r, "remote_addr")], count)


def wait_for(
    records: Callable[[], list[logging.LogRecord]], count: int
) -> list[logging.LogRecord]:
    deadline = time.monotonic() + TIME_LIMIT
    while len(records()) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(records()) == count
    return records()


def test_quickstart(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """Three records arrive: one with arguments, one with extras, one with a traceback."""
    run("quickstart.py", target)

    paid, stock, discount = arrived(caplog, 3)
    assert paid.getMessage() == "order A-17 paid: 12.50"
    assert (stock.__dict__["item"], stock.__dict__["left"]) == ("tea", 3)
    assert "ZeroDivisionError" in (discount.exc_text or "")


def test_dict_config(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """All records arrive, with the static fields, in the order in which they were logged."""
    run("dict_config.py", target)

    records = arrived(caplog, 251)
    assert [r.args for r in records[:2]] == [(0, 180), (1, 181)]
    assert {r.__dict__["service"] for r in records} == {"shop"}


def test_one_rotating_file(tmp_path: Path) -> None:
    """Four processes write one file, which rotates, and every line is accounted for."""
    printed = run("one_rotating_file.py", str(tmp_path))

    assert "sent 8000" in printed
    assert len(list(tmp_path.glob("shop.log*"))) > 2


def test_receiver_in_application(tmp_path: Path) -> None:
    """The program sees its client's error at once, and counts the rest."""
    printed = run("receiver_in_application.py")

    assert "pump.north: pressure too high (4)" in printed
    assert ": 102 records" in printed


def test_netcat(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """An object, an array and a compressed array are records, without the package."""
    run("netcat.py", target)

    records = arrived(caplog, 7)
    assert (records[0].getMessage(), records[0].levelname) == ("hi", "WARNING")
    assert [r.getMessage() for r in records[1:]] == ["step 1", "step 2", "step 3"] * 2


def test_netcat_from_a_shell(
    target: str, caplog: pytest.LogCaptureFixture, require: Callable[[str], str]
) -> None:
    """`nc` is enough to log from a shell script."""
    require("nc")
    host, _, port = target.partition(":")

    subprocess.run([str(EXAMPLES / "netcat.sh"), host, port], timeout=TIME_LIMIT, check=True)

    (record,) = arrived(caplog, 1)
    assert (record.name, record.levelname) == ("cron.backup", "WARNING")


def test_demo() -> None:
    """The demo ends well, and its summary says that nothing was lost."""
    printed = run("demo.py", "2")

    assert "lost 0" in printed


@pytest.mark.parametrize("script", sorted(p.name for p in EXAMPLES.glob("*.py")))
def test_an_example_says_what_it_takes(script: str, tmp_path: Path) -> None:
    """`--help` shows the usage, and does nothing else."""
    assert run(script, "--help", cwd=tmp_path).startswith("usage: ")
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_tested() -> None:
    """There is no example that this file does not run."""
    source = Path(__file__).read_text("utf-8")
    scripts = [p.name for p in EXAMPLES.iterdir() if p.suffix in {".py", ".sh"}]

    assert [name for name in scripts if f'"{name}"' not in source] == []
