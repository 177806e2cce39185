"""Other tools understand what the receiver writes: rsyslog and lnav, as Debian has them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_receive import Running
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOY = Path(__file__).parents[2] / "deploy"
TIME_LIMIT = 60.0

RECORDS = (
    {"message": "cart opened", "level": "info", "logger": "shop.cart"},
    {"message": "payment failed: \u20ac 12\nforged line", "level": "error", "logger": "shop.pay"},
    {"message": 'disk "a" full', "level": "critical", "logger": "disk"},
)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file of JSON lines from a real receiver."""
    output = tmp_path / "records.json"
    with Running(tmp_path, "--format", "json", "--output", str(output)) as receiver:
        receiver.send(*RECORDS)
        wait_until(lambda: output.exists() and output.read_text().count("\n") == 3, "the records")
        assert receiver.end() == 0
    return output


def test_rsyslog_filters_by_the_fields(
    written: Path, tmp_path: Path, require: Callable[[str], str]
) -> None:
    """With the configuration in deploy/, errors and worse become lines of their own."""
    program = require("rsyslogd")
    config = (DEPLOY / "rsyslog" / "batchudp.conf").read_text("utf-8")
    file, errors = tmp_path / "rsyslog.conf", tmp_path / "errors.log"
    file.write_text(
        f'global(workDirectory="{tmp_path}")\n'
        + config.replace("/var/log/batchudp/records.json", str(written)).replace(
            "/var/log/batchudp/errors.log", str(errors)
        )
    )
    checked = subprocess.run(
        [program, "-N1", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    command = [program, "-n", "-f", str(file), "-i", str(tmp_path / "pid")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_until(lambda: errors.exists() and errors.read_text().count("\n") >= 2, "errors")
        finally:
            daemon.terminate()
            daemon.wait(TIME_LIMIT)
    first, second = errors.read_text("utf-8").splitlines()
    assert "shop.pay: payment failed: \u20ac 12#010forged line" in first
    assert second.endswith('disk: disk "a" full')


def test_lnav_reads_levels_times_and_fields(
    written: Path, tmp_path: Path, require: Callable[[str], str]
) -> None:
    """With the format in deploy/, `lnav -n` answers a question in SQL about the records."""
    formats = tmp_path / "lnav" / "formats" / "installed"
    formats.mkdir(parents=True)
    text = (DEPLOY / "lnav" / "batchudp.json").read_text("utf-8")
    (formats / "batchudp.json").write_text(text, "utf-8")
    columns = "log_level, logger, log_body"
    query = f";SELECT {columns} FROM batchudp WHERE log_level >= 'error' ORDER BY logger"
    command = [require("lnav"), "-n", "-I", str(tmp_path / "lnav")]
    command += ["-c", query, "-c", ":write-json-to -", str(written)]

    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["log_level"], row["logger"]) for row in rows] == [
        ("critical", "disk"),
        ("error", "shop.pay"),
    ]
    assert rows[1]["log_body"] == RECORDS[1]["message"]
