"""Systems that lack something, imitated: records arrive all the same, or an error says why not.

`without.py` says what is taken away. The stories run in interpreters of their own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMS = ("linux", "macos", "windows")
LINES = 400
ROTATED = 1_000
PATIENCE = 60.0
TROUBLE = re.compile("Traceback|Error|Warning|ignored in")

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="imitates others on Linux")
pytestmark = needs_linux


def command(system: str, story: str, *arguments: str) -> list[str]:
    modules = ("-W", "error", "-m", "tests.platforms.stories")
    return [sys.executable, *modules, system, story, *arguments]


def told(system: str, story: str, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        command(system, story, *arguments),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not TROUBLE.search(done.stderr), done.stderr
    return done.stdout


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_records_arrive_and_an_idle_pair_costs_nothing(
    system: str, delivery: str, host: str
) -> None:
    """Handler and receiver work on loopback, and neither spins when there is nothing to do."""
    told(system, "round_trip", host, delivery)


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_unix_sockets_without_abstract_names(delivery: str, tmp_path: Path) -> None:
    """macOS gives a sender no name: it binds a path, so that it can be answered."""
    told("macos", "round_trip", f"unix://{tmp_path}/log.sock", delivery)


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_what_cannot_work_is_refused_when_it_is_asked_for(system: str, tmp_path: Path) -> None:
    """An error of the settings says what the system lacks; nothing is opened or begun."""
    answers = dict(
        line.split(": ", 1) for line in told(system, "refusals", str(tmp_path)).splitlines()
    )

    if system == "macos":
        assert set(answers.values()) == {"works"}
    else:
        assert "needs unix sockets" in answers["handler on unix"]
        assert "needs unix sockets" in answers["receiver on unix"]
        assert "needs file locks" in answers["spool"]
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_scripts_send_receive_and_rotate(system: str, tmp_path: Path) -> None:
    """Lines go from `batchudp-send` to files of `batchudp-receive`, which Ctrl-C ends."""
    ready, output = tmp_path / "ready", tmp_path / "out.log"
    options = ("--port", "0", "--ready-file", str(ready), "--output", str(output))
    rotation = ("--max-bytes", str(ROTATED), "--backups", "50", "--pattern", "%(message)s")
    process = subprocess.Popen(
        command(system, "receive", "--host", "127.0.0.1", *options, *rotation),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None)
        port = ready.read_text("utf-8").strip().rpartition(":")[2]
        lines = [f"line {number}" for number in range(LINES)]
        to = ("--target-host", "127.0.0.1", "--target-port", port, "--delivery", "acknowledged")
        told(system, "send", *to, "--file", "-", stdin="".join(f"{line}\n" for line in lines))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert not TROUBLE.search(said), said
    files = sorted(tmp_path.glob("out.log*"), key=os.path.getmtime)
    assert len(files) > 1
    assert all(path.stat().st_size <= ROTATED for path in files)
    found = [line for path in files for line in path.read_bytes().decode().split("\n") if line]
    assert sorted(found) == sorted(lines)
