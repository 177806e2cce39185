"""A real collector (Rotel) behind a real receiver, ended and started again under load.

Rotel answers before it has passed a record on, so a kill costs what it has just confirmed. A
collector of our own stores first, and is killed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.engines import forwarder
from batchudp_handler.engines.otlp_forwarder import OtlpForwarder
from tests.cli.test_receive import Running, run
from tests.engines.collector import Collector
from tests.support import balance, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.table import Table

REPOSITORY = Path(__file__).parents[2]
RECORDS = 20_000
HAS_WHEEL = (
    sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
)
"""As the group `tests` in pyproject.toml has it."""
ANSI = re.compile(r"\x1b\[[0-9;]*m")
BODY = re.compile(r"^(?:Body: Str\()?record (\d+)\)?$", re.MULTILINE)


def rotel_program() -> str:
    """Return the program of the package rotel, or skip with the reason."""
    found = importlib.util.find_spec("rotel")
    if found is not None and found.origin is not None:
        program = str(Path(found.origin).parent / "rotel-agent")
        done = subprocess.run(
            [program, "version"], env=environ(), capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return program
        reason = done.stderr.strip()
    else:
        reason = "rotel is not installed"
    if os.environ.get("BATCHUDP_REQUIRE") and HAS_WHEEL:
        pytest.fail(reason)
    pytest.skip(reason)


def environ() -> dict[str, str]:
    """Return where Rotel finds the library of Python, which it is linked with."""
    return {**os.environ, "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""}


def free_port() -> int:
    """Return a TCP port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Process:
    """One collector as a process, which can be ended and started again.

    Args:
        port: Where it listens.
        command: What starts it.
        output: Where its output goes, of all its lives.
    """

    def __init__(self, port: int, command: list[str], output: Path) -> None:
        self.url = f"otlp+http://127.0.0.1:{port}/v1/logs"
        self._command = command
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the former output kept."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=environ(), stdout=output, stderr=output, cwd=REPOSITORY
            )

    def end(self, number: int) -> None:
        """Send it a signal and wait for its end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def text(self) -> str:
        """Return what it has printed or stored, without colours."""
        return ANSI.sub("", self._output.read_text("utf-8")) if self._output.exists() else ""


@pytest.fixture
def rotel(tmp_path: Path) -> Iterator[Process]:
    """A Rotel that prints every record that it has taken; it is not running yet."""
    port, grpc = free_port(), free_port()
    command = [
        *(rotel_program(), "start", "--exporter", "blackhole"),
        *("--otlp-http-endpoint", f"127.0.0.1:{port}"),
        *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
        *("--debug-log", "logs", "--debug-log-verbosity", "detailed"),
    ]
    made = Process(port, command, tmp_path / "rotel.log")
    yield made
    made.end(signal.SIGKILL)


@pytest.fixture
def storing(tmp_path: Path) -> Iterator[Process]:
    """A collector that stores every record before it answers; it is not running yet."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("collector.py")), str(port)]
    made = Process(port, [*command, str(tmp_path / "stored")], tmp_path / "stored")
    yield made
    made.end(signal.SIGKILL)


def log_all(handler: BatchUDPHandler, count: int) -> None:
    for number in range(count):
        record = logging.LogRecord("shop", 20, "", 0, "record %d", (number,), None)
        handler.handle(record)


def test_a_real_collector_understands_everything(rotel: Process) -> None:
    """Service, severity, trace, values and exception are what the collector prints."""
    rotel.start()
    log = logging.getLogger("test_otlp_collector")
    with BatchUDPReceiver("127.0.0.1", 0, new_worker=forwarder(rotel.url)) as receiver:
        host, port = receiver.address[:2]
        handler = BatchUDPHandler(
            str(host), int(port), delivery="acknowledged", static_fields={"service": "shop"}
        )
        log.addHandler(handler)
        try:
            ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
            extra = {**ids, "list": [1, None], "empty": None, "map": {"a": 1.5}}
            log.warning("Größe %d", 5, extra=extra)
            try:
                raise KeyError("missing")
            except KeyError:
                log.exception("it failed")
            assert handler.flush(30)
            assert receiver.stats().rejected == {}
        finally:
            log.removeHandler(handler)
            handler.close()
    wait_until(lambda: "exception.message" in rotel.text(), "the records")
    for line in (
        "-> service.name: Str(shop)",
        "InstrumentationScope test_otlp_collector",
        "SeverityNumber: SEVERITY_NUMBER_WARN(13)",
        "Body: Str(Größe 5)",
        "-> list: Slice(Int(1), Str(null))",
        "-> map: Map(a:Double(1.5))",
        "Trace ID       : 0af7651916cd43dd8448eb211c80319c",
        "Span ID        : b7ad6b7169203331",
        "SeverityNumber: SEVERITY_NUMBER_ERROR(17)",
        "-> exception.type: Str(KeyError)",
        "-> exception.message: Str('missing')",
    ):
        assert line in rotel.text(), line


def test_the_scripts_know_collectors(tmp_path: Path) -> None:
    """`check` finds out whether it is there, `--forward` passes on, and the summary agrees."""
    collector = Collector()
    try:
        flags = ("--forward", collector.url)
        checked = run("check", *flags, "--host", "127.0.0.1", "--port", "0")
        assert checked.returncode == 0, checked.stderr
        assert "the collector at 127.0.0.1" in checked.stdout
        with Running(tmp_path, *flags) as receiver:
            receiver.send({"message": "hi", "level": "warning"})
            wait_until(lambda: collector.texts == ["hi"], "the record")
            assert receiver.end() == 0
        assert "delivered 1" in receiver.stderr
        assert receiver.stdout == ""
    finally:
        collector.close()
    gone = run("check", *flags, "--host", "127.0.0.1", "--port", "0")
    assert (gone.returncode, "the collector at" in gone.stderr) == (69, True), gone.stderr
    wrong = run("--forward", "otlp+http://")
    assert (wrong.returncode, "otlp+http://host:port" in wrong.stderr) == (78, True), wrong.stderr


def test_rotel_is_restarted_under_load(rotel: Process, table: Table) -> None:
    """A collector that is told to end three times: nothing is lost."""
    run_through_deaths(rotel, signal.SIGTERM, table, "OTLP: Rotel ended three times")


def test_a_collector_is_killed_under_load(storing: Process, table: Table) -> None:
    """A collector that stores before it answers is killed three times: nothing is lost."""
    run_through_deaths(storing, signal.SIGKILL, table, "OTLP: collector killed three times")


def reaches(worker: OtlpForwarder, counter: str, number: int) -> bool:
    return bool(getattr(worker, counter) > number)


def run_through_deaths(
    collector: Process, number: signal.Signals, table: Table, case: str
) -> None:
    """Log through three lives of the collector; nothing is lost, and copies are counted."""
    began = time.monotonic()
    collector.start()
    with BatchUDPReceiver("127.0.0.1", 0, new_worker=forwarder(collector.url)) as receiver:
        worker = receiver._worker
        assert isinstance(worker, OtlpForwarder)
        host, port = receiver.address[:2]
        handler = BatchUDPHandler(
            *(str(host), int(port)),
            delivery="acknowledged",
            overflow="block",
            overflow_timeout=60.0,
            capacity=2_000,
        )
        logging_thread = threading.Thread(target=log_all, args=(handler, RECORDS))
        logging_thread.start()
        for death in range(1, 4):
            exported = death * RECORDS // 5
            wait_until(partial(reaches, worker, "exported", exported), "some records")
            collector.end(number)
            retries = worker.retries
            wait_until(partial(reaches, worker, "retries", retries), "an attempt in vain")
            collector.start()
        logging_thread.join()
        assert handler.flush(60)
        stats = handler.stats()
        handler.close()
        assert receiver.stats().rejected == {}
    collector.end(signal.SIGTERM)
    came = Counter(map(int, BODY.findall(collector.text())))
    table.add(case, [(0, n) for n in range(RECORDS)], [(0, n) for n in came.elements()], began)
    assert stats.confirmed == RECORDS == balance(stats)
    assert sorted(came) == list(range(RECORDS))
    assert came.total() - RECORDS <= worker.possibly_repeated
