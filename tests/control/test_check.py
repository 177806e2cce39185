"""`batchudp-receive check` finds what would go wrong after the start."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_receive import run

if TYPE_CHECKING:
    import pathlib
    import subprocess

WHERE = ("--host", "127.0.0.1", "--port", "0")


def check(
    directory: pathlib.Path, handler: dict[str, Any], *flags: str
) -> subprocess.CompletedProcess[str]:
    """The command with one handler at the root."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"one": handler},
        "root": {"handlers": ["one"]},
    }
    path = directory / "logging.json"
    path.write_text(json.dumps(config))
    return run("check", *WHERE, "--config", str(path), *flags)


@pytest.mark.parametrize(
    "handler",
    [
        {"class": "logging.handlers.SocketHandler", "host": "127.0.0.1", "port": 0},
        {"class": "logging.handlers.HTTPHandler", "host": "127.0.0.1:0", "url": "/"},
        {
            "class": "logging.handlers.SMTPHandler",
            "mailhost": ["127.0.0.1", 0],
            "fromaddr": "a@example.org",
            "toaddrs": ["b@example.org"],
            "subject": "log",
        },
    ],
    ids=["socket", "http", "smtp"],
)
def test_a_sink_is_reachable_or_not(tmp_path: pathlib.Path, handler: dict[str, Any]) -> None:
    """While something listens it is named; when nothing does the exit code is 69."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        text = json.dumps(handler).replace(": 0}", f": {port}}}").replace(", 0]", f", {port}]")
        handler = json.loads(text.replace('127.0.0.1:0"', f'127.0.0.1:{port}"'))
        closed = check(tmp_path, handler)
        ignored = check(tmp_path, handler, "--no-reach")
        server.listen()
        opened = check(tmp_path, handler)
    assert (closed.returncode, str(port) in closed.stderr) == (69, True), closed.stderr
    assert ignored.returncode == 0, ignored.stderr
    assert opened.returncode == 0, opened.stderr
    assert f"can reach 127.0.0.1:{port} of a" in opened.stdout
    assert "configuration ok" in opened.stdout


def test_syslog_over_udp_needs_only_a_way(tmp_path: pathlib.Path) -> None:
    """Whether somebody reads datagrams cannot be known; a name without an address can."""
    syslog = {"class": "logging.handlers.SysLogHandler"}
    found = check(tmp_path, {**syslog, "address": ["127.0.0.1", 514]})
    missing = check(tmp_path, {**syslog, "address": ["nowhere.invalid", 514]})
    assert found.returncode == 0, found.stderr
    assert missing.returncode in {69, 78}
    assert "nowhere.invalid" in missing.stderr or "not known" in missing.stderr


@pytest.mark.slow
def test_an_engine_that_is_away() -> None:
    """Without the engine of --forward nothing could be confirmed; no password is shown."""
    pytest.importorskip("nats")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        url = f"nats://me:hidden@127.0.0.1:{port}/LOGS"
        ended = run("check", *WHERE, "--forward", url)
    assert ended.returncode == 69, ended.stderr
    assert f"127.0.0.1:{port}, stream LOGS" in ended.stderr
    assert "hidden" not in ended.stdout + ended.stderr


def test_the_port_for_metrics_is_tried() -> None:
    """A port that is taken is found before the start."""
    pytest.importorskip("prometheus_client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("check", *WHERE, "--metrics-port", port)
    assert (ended.returncode, port in ended.stderr) == (73, True), ended.stderr
    assert run("check", *WHERE, "--metrics-port", "0").returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_an_output_that_takes_nothing(tmp_path: pathlib.Path) -> None:
    """A full device is found before the start, as the output and as the file of a handler."""
    words = "cannot write to /dev/full: No space left on device"
    file = {"class": "logging.FileHandler", "filename": "/dev/full"}

    for ended in (run("check", *WHERE, "--output", "/dev/full"), check(tmp_path, file)):
        assert (ended.returncode, ended.stdout) == (69, ""), ended.stderr
        assert words in ended.stderr
    assert run("check", *WHERE, "--output", "/dev/full", "--no-reach").returncode == 0


def test_an_output_that_takes_lines_is_left_as_it_is(tmp_path: pathlib.Path) -> None:
    """Nothing is written to a file that exists."""
    output = tmp_path / "out.log"
    output.write_text("a line\n")

    ended = run("check", *WHERE, "--output", str(output))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"can write to {output}" in ended.stdout
    assert output.read_text() == "a line\n"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"version": 1}, "no record reaches a handler"),
        (
            {
                "version": 1,
                "handlers": {"one": {"class": "logging.StreamHandler"}},
                "loggers": {"shop": {"handlers": ["one"]}},
            },
            "only records of shop and the loggers below it reach a handler",
        ),
        (
            {
                "version": 1,
                "handlers": {"one": {"class": "logging.StreamHandler"}},
                "loggers": {"shop": {"propagate": False}},
                "root": {"handlers": ["one"]},
            },
            "records of shop reach no handler",
        ),
    ],
    ids=["none", "some", "cut-off"],
)
def test_records_that_reach_no_handler(
    tmp_path: pathlib.Path, config: dict[str, Any], words: str
) -> None:
    """The configuration is valid, and the check says what would get lost with it."""
    path = tmp_path / "logging.json"
    path.write_text(json.dumps(config))

    ended = run("check", *WHERE, "--config", str(path))

    assert ended.returncode == 0, ended.stderr
    assert f"warning: {words}" in ended.stderr


def test_a_root_with_a_handler_is_no_reason_to_warn(tmp_path: pathlib.Path) -> None:
    """Every record reaches it."""
    ended = check(tmp_path, {"class": "logging.StreamHandler"})

    assert (ended.returncode, ended.stderr) == (0, "")
