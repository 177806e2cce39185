"""Prometheus can read what the receiver counts."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.receive.stats import ReceiverStats
from tests.cli.test_receive import Running, environment, run

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

pytest.importorskip("prometheus_client")

TIME_LIMIT = 60.0


def page_of(running: Running) -> str:
    """What the receiver serves, where it says that it does."""
    (url,) = re.findall(r"metrics on (\S+)", running.stderr)
    with urllib.request.urlopen(url, timeout=TIME_LIMIT) as answer:
        return str(answer.read().decode())


def page_with(running: Running, line: str) -> str:
    deadline = time.monotonic() + TIME_LIMIT
    while line not in (page := page_of(running)).splitlines():
        assert time.monotonic() < deadline, page
        time.sleep(0.05)
    return page


def test_promtool_has_no_objection(tmp_path: pathlib.Path, require: Callable[[str], str]) -> None:
    """`promtool check metrics` finds nothing to say about a page with traffic on it."""
    with Running(tmp_path, "--metrics-port", "0") as running:
        running.send({"message": "one"}, b"garbage", b"\xcb\xf2\x00[5]")
        page = page_with(running, "batchudp_receiver_delivered_records_total 1.0")
        command = [require("promtool"), "check", "metrics"]
        checked = subprocess.run(command, input=page, capture_output=True, text=True, check=False)
        assert running.end() == 0
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_page_has_every_counter_with_its_words(tmp_path: pathlib.Path) -> None:
    """Each field of the table is a metric that the library's own parser reads, with help."""
    from prometheus_client.parser import text_string_to_metric_families

    with Running(tmp_path, "--metrics-port", "0") as running:
        running.send({"message": "one"}, b"garbage")
        page_with(running, "batchudp_receiver_delivered_records_total 1.0")
        page = page_with(
            running, 'batchudp_receiver_refused_datagrams_total{reason="malformed"} 1.0'
        )
    families = list(text_string_to_metric_families(page))
    values = {family.name: family for family in families}

    assert len(values) == len(fields(ReceiverStats)) - 1 + 1  # without streams, with healthy
    assert all(family.documentation for family in families)
    assert values["batchudp_receiver_healthy"].samples[0].value == 1.0
    assert values["batchudp_receiver_uptime_seconds"].samples[0].value > 0


def test_a_port_that_is_taken_is_an_exit_code(tmp_path: pathlib.Path) -> None:
    """It ends with 73 and says which address it was."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("--host", "127.0.0.1", "--port", "0", "--metrics-port", port)
    assert ended.returncode == 73
    assert port in ended.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    """A configuration error, not a traceback."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from batchudp_handler.cli.receive import main\n"
        "sys.exit(main(['--host', '127.0.0.1', '--port', '0', '--metrics-port', '0']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert ended.returncode == 78
    assert "batchudp-handler[prometheus]" in ended.stderr
