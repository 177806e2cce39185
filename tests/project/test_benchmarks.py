"""The benchmarks can be run, and the page that shows them fits what they write.

The figures themselves are nobody's concern here; `benchmarks/guard.py` looks at those.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Give it a minute for each second that it takes on a quiet machine."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_short_run_delivers_every_record_and_writes_its_rows(tmp_path):
    """One handler, one round: all that was logged arrives at the sink and is in the file."""
    path = tmp_path / "results.json"
    done = run_python(
        *("benchmarks/run.py", "--only", "cost", "--peer", "batchudp", "--work", "template"),
        *("--records", "300", "--rounds", "1", "--json", str(path)),
    )
    assert done.returncode == 0, done.stderr
    rows = {
        row["peer"]: row for row in json.loads(path.read_text("utf-8"))["suites"]["cost"]["rows"]
    }
    assert list(rows) == ["NullHandler", "batchudp"]
    assert rows["batchudp"]["delivered"] == 1.0


def test_the_page_shows_what_the_results_say():
    """The tables of the documentation are those that the committed results make."""
    code = (
        "import json, sys; sys.path.insert(0, 'benchmarks'); import report;"
        "result = json.loads(report.RESULTS.read_text('utf-8'));"
        "page = report.PAGE.read_text('utf-8');"
        "print(json.dumps([page, report.filled(page, result)]))"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    page, made = json.loads(done.stdout)
    assert page == made
    pictures = re.findall(r"\{image\} (\S+)", page)
    assert pictures
    assert all((ROOT / "docs" / picture).exists() for picture in pictures)


@pytest.mark.slow
def test_every_number_of_workers_handles_every_record(tmp_path):
    """The real script with one, two and four workers, into nothing and into a file."""
    path = tmp_path / "results.json"
    done = run_python(
        *("benchmarks/run.py", "--only", "workers", "--records", "12800", "--rounds", "1"),
        *("--json", str(path)),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text("utf-8"))["suites"]["workers"]["rows"]
    assert {row["workers"] for row in rows} == {1, 2, 4}
    assert [row["delivered"] for row in rows] == [1.0] * 6
