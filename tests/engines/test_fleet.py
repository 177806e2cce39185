"""Senders, edges, an engine and consumers as processes: what is logged is written, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.engines import forwarder
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.conftest import NatsServer
    from tests.table import Table

DEADLINE = 60.0
CLUSTER_DEADLINE = 120.0
SENDERS = 4
RECORDS = 5_000


class Script:
    """A `batchudp-receive` process."""

    def __init__(self, folder: Path, name: str, *flags: str) -> None:
        self._command = [sys.executable, "-m", "batchudp_handler.cli.receive", *flags]
        self._log = folder / f"{name}.log"
        self._environment = {**os.environ, "PYTHONPATH": str(folder)}
        self.start()

    def start(self) -> None:
        """Start it, again if it was killed."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def end(self) -> tuple[int, str]:
        """Ask it to end; its exit code and what it wrote."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE), self._log.read_text()


@pytest.fixture
def scripts() -> Iterator[list[Script]]:
    """What is started here does not outlive the test."""
    started: list[Script] = []
    yield started
    for script in started:
        if script.process.poll() is None:
            script.kill()


def written(path: Path) -> list[str]:
    """The lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


def test_killed_edge_loses_and_repeats_nothing(
    nats_server: NatsServer, tmp_path: Path, scripts: list[Script], table: Table
) -> None:
    """An edge is killed under load and comes back: every record is in the file, once."""
    began = time.monotonic()
    url, ready, output = nats_server.url, tmp_path / "ready", tmp_path / "all.log"
    consumer_flags = ("--from", url, "--create-stream", "--output", str(output))
    scripts.append(Script(tmp_path, "consumer", *consumer_flags, "--pattern", "%(message)s"))
    edge_flags = ("--host", "127.0.0.1", "--forward", url, "--create-stream")
    scripts.append(Script(tmp_path, "edge", *edge_flags, "--port=0", "--ready-file", str(ready)))
    wait_until(ready.exists)
    port = ready.read_text().strip().rpartition(":")[2]

    handlers = [
        BatchUDPHandler(
            "127.0.0.1", port, delivery="acknowledged", capacity=2 * RECORDS, flush_interval=0.1
        )
        for _ in range(SENDERS)
    ]
    log = logging.getLogger("fleet")
    for number in range(RECORDS):
        for sender, handler in enumerate(handlers):
            handler.handle(log.makeRecord("fleet", 20, "f", 1, "%d %d", (sender, number), None))
        if number == RECORDS // 3:
            scripts[1].kill()
            scripts[1] = Script(tmp_path, "edge2", *edge_flags, f"--port={port}")
    assert all(handler.flush(DEADLINE) for handler in handlers)

    expected = Counter(f"{s} {n}" for s in range(SENDERS) for n in range(RECORDS))
    wait_until(lambda: len(written(output)) >= SENDERS * RECORDS)
    table.add("NATS: an edge killed, started again", expected, written(output), began)
    found = Counter(written(output))
    assert found - expected == Counter()
    assert expected - found == Counter()
    for handler in handlers:
        handler.close()
        assert handler.stats().confirmed == RECORDS
    assert scripts[1].end()[0] == 0
    code, text = scripts[0].end()
    assert code == 0
    assert f"{SENDERS * RECORDS:,}" in text or str(SENDERS * RECORDS) in text


@pytest.mark.timeout(400)
def test_senders_outlive_the_leader_of_a_cluster(
    nats_cluster: list[NatsServer], tmp_path: Path, scripts: list[Script], table: Table
) -> None:
    """Eight senders, two edges, three nodes, the leader killed: every record is written once."""
    began, senders, records, output = time.monotonic(), 8, 2_500, tmp_path / "all.log"
    hosts = ",".join(server.url.removeprefix("nats://") for server in nats_cluster)
    url = f"nats://{hosts}/FLEET?replicas=3&subject=fleet.batches"
    ports = []
    for name in ("a", "b"):
        ready, flags = tmp_path / name, ("--host", "127.0.0.1", "--port=0", "--create-stream")
        scripts.append(
            Script(tmp_path, f"edge-{name}", *flags, "--forward", url, "--ready-file", str(ready))
        )
        wait_until(ready.exists, seconds=CLUSTER_DEADLINE)
        ports.append(ready.read_text().strip().rpartition(":")[2])
    fleet = [
        BatchUDPHandler(
            "127.0.0.1", ports[n % 2], delivery="acknowledged", capacity=records, batch_size=50
        )
        for n in range(senders)
    ]
    _log(fleet, range(records // 3))
    leaders: list[NatsServer] = []

    def has_leader() -> bool:
        leaders.extend(server for server in nats_cluster if server.is_leader_of("FLEET"))
        return bool(leaders)

    wait_until(has_leader, seconds=CLUSTER_DEADLINE)
    leaders[0].kill()
    _log(fleet, range(records // 3, records))
    assert all(handler.flush(CLUSTER_DEADLINE) for handler in fleet)
    for handler in fleet:
        handler.close()
        assert handler.stats().confirmed == records

    outlet = ("--output", str(output), "--pattern", "%(message)s")
    scripts.append(Script(tmp_path, "consumer", "--from", url, *outlet))
    wait_until(lambda: len(written(output)) >= senders * records, seconds=CLUSTER_DEADLINE)
    assert scripts[2].end()[0] == 0
    expected = Counter(f"{s} {n}" for s in range(senders) for n in range(records))
    table.add("NATS: 8 senders, 2 edges, 3 nodes, leader killed", expected, written(output), began)
    assert Counter(written(output)) == expected


def _log(fleet: list[BatchUDPHandler], numbers: range) -> None:
    """Each sender logs these, at a pace that leaves time for a leader to die."""
    log = logging.getLogger("fleet")
    for number in numbers:
        for sender, handler in enumerate(fleet):
            handler.handle(log.makeRecord("fleet", 20, "f", 1, "%d %d", (sender, number), None))
        if number % 10 == 0:
            time.sleep(0.005)


STICKING = """
import logging, threading


class Sticking(logging.FileHandler):
    written = 0

    def emit(self, record):
        super().emit(record)
        self.written += 1
        if self.written == {limit}:
            threading.Event().wait()
"""
LOGGING = """
version = 1
formatters.plain.format = "%(message)s"
handlers.file = {{ class = "sticking.Sticking", filename = '{file}', formatter = "plain" }}
root = {{ level = "DEBUG", handlers = ["file"] }}
"""


def sticking(folder: Path, file: Path, limit: int) -> str:
    """A logging configuration whose handler never returns from its last record."""
    (folder / "sticking.py").write_text(STICKING.format(limit=limit))
    config = folder / "sticking.toml"
    config.write_text(LOGGING.format(file=file))
    return str(config)


async def _hurry(url: str, ack_wait: float) -> None:
    """Make the stream, and the consumers' common state with less patience than the usual."""
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="BATCHUDP", subjects=["batchudp.batches"], duplicate_window=120)
    config = ConsumerConfig(
        durable_name="batchudp", ack_policy=AckPolicy.EXPLICIT, ack_wait=ack_wait
    )
    await stream.add_consumer("BATCHUDP", config)
    await client.close()


def test_killed_consumer_leaves_its_batches_to_the_next(
    nats_server: NatsServer, tmp_path: Path, scripts: list[Script], table: Table
) -> None:
    """A consumer is killed in the middle of a batch: only that batch may be written twice."""
    began, records, batch_size = time.monotonic(), 4_000, 50
    url, first, second = nats_server.url, tmp_path / "first.log", tmp_path / "second.log"
    asyncio.run(_hurry(url, 10.0))
    config = sticking(tmp_path, first, records // 3)
    scripts.append(Script(tmp_path, "consumer", "--from", url, "--config", config))
    with contextlib.ExitStack() as stack:
        receiver = BatchUDPReceiver("127.0.0.1", 0, new_worker=forwarder(url))
        stack.enter_context(receiver)
        handler = BatchUDPHandler(
            *receiver.address, delivery="acknowledged", batch_size=batch_size, capacity=records
        )
        stack.callback(handler.close)
        for number in range(records):
            handler.handle(logging.makeLogRecord({"msg": str(number), "levelno": 20}))
            if number % batch_size == batch_size - 1:
                assert handler.flush(DEADLINE)
    wait_until(lambda: len(written(first)) == records // 3)
    scripts[0].kill()

    flags = ("--from", url, "--output", str(second), "--pattern", "%(message)s")
    scripts.append(Script(tmp_path, "next", *flags))
    expected = Counter(map(str, range(records)))
    wait_until(lambda: not expected - Counter(written(first) + written(second)))
    code, text = scripts[1].end()

    table.add("NATS: a consumer killed", expected, written(first) + written(second), began)
    copies = Counter(written(first) + written(second)) - expected
    assert 0 < copies.total() <= batch_size, text
    assert set(copies) <= set(written(first)[-batch_size:])
    assert (code, "batches given out before" in text) == (0, True)


def test_no_record_is_confirmed_before_the_engine_has_it(nats_server: NatsServer) -> None:
    """While the engine is away a sender's flush fails; when it is back, it succeeds."""
    url = nats_server.url
    with contextlib.ExitStack() as stack:
        receiver = BatchUDPReceiver("127.0.0.1", 0, new_worker=forwarder(url, create_stream=True))
        stack.enter_context(receiver)
        handler = BatchUDPHandler(*receiver.address, delivery="acknowledged")
        stack.callback(handler.close)
        record = logging.makeLogRecord({"msg": "hello", "levelno": 40})
        handler.handle(record)
        assert handler.flush(DEADLINE)

        nats_server.kill()
        handler.handle(record)
        assert not handler.flush(0.5)

        nats_server.start()
        assert handler.flush(DEADLINE)
        assert handler.stats().confirmed == 2


def test_wrong_engine_is_a_wrong_setting() -> None:
    """An engine that cannot be one is refused before anything is opened."""
    with pytest.raises(ConfigError, match="nats://"):
        forwarder("http://example")
