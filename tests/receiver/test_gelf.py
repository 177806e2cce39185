"""Real GELF libraries as senders: graypy, pygelf, and one of Node.js."""

from __future__ import annotations

import gzip
import importlib
import json
import logging
import os
import random
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPReceiver
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNT = 200


class Received(logging.Handler):
    """Keeps what has come over the network."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def received() -> Iterator[Received]:
    """A handler behind the receiver, under a logger of its own."""
    handler = Received()
    log = logging.getLogger("gelf_far")
    log.setLevel(1)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def receiver(received: Received) -> Iterator[BatchUDPReceiver]:
    """A receiver that takes GELF."""
    with BatchUDPReceiver("127.0.0.1", 0, gelf=True, logger_prefix="gelf_far.") as made:
        yield made


def library(name: str) -> Any:
    """Import a library, or skip; where everything is required, fail."""
    try:
        return importlib.import_module(name)
    except ImportError:
        # graypy 2.1.0 brings a package `tests` that hides ours, so it is installed by hand only
        if os.environ.get("BATCHUDP_REQUIRE") and name != "graypy":
            pytest.fail(f"{name} is not installed, and BATCHUDP_REQUIRE forbids to skip")
        pytest.skip(f"{name} is not installed")


def python_handler(name: str, port: int) -> logging.Handler:
    if name == "graypy":
        handler = library("graypy").GELFUDPHandler("127.0.0.1", port)
    else:
        compress = name == "pygelf"
        handler = library("pygelf").GelfUdpHandler(
            "127.0.0.1", port, debug=True, include_extra_fields=True, compress=compress
        )
    assert isinstance(handler, logging.Handler)
    return handler


@pytest.mark.parametrize("name", ["graypy", "pygelf", "pygelf plain"])
def test_python_libraries(name: str, receiver: BatchUDPReceiver, received: Received) -> None:
    """Text, level, logger, call site, extras, exceptions, and messages in many chunks."""
    handler = python_handler(name, int(receiver.address[1]))
    near = logging.getLogger("test_gelf_near")
    near.propagate = False
    near.addHandler(handler)
    large = "large " + "".join(random.Random(7).choices("abcdefghij \u00e9", k=60_000))
    try:
        near.warning("Gr\u00f6\u00dfe %d", 5, extra={"amount": 1.5})
        near.error(large)
        try:
            raise KeyError("missing")
        except KeyError:
            near.exception("it failed")
        for number in range(COUNT):
            near.error("record %d", number)
    finally:
        near.removeHandler(handler)
        near.propagate = True
        handler.close()
    wait_until(lambda: len(received.records) == COUNT + 3, "the records", 20)
    first, second, third = received.records[:3]
    assert (first.getMessage(), first.levelname) == ("Gr\u00f6\u00dfe 5", "WARNING")
    assert first.name == "gelf_far.test_gelf_near"
    assert (first.filename, first.funcName) == ("test_gelf.py", "test_python_libraries")
    assert vars(first)["amount"] == 1.5
    assert second.getMessage() == large
    assert "KeyError: 'missing'" in (third.exc_text or "")
    assert received.texts()[3:] == [f"record {number}" for number in range(COUNT)]
    assert receiver.stats().refused == receiver.stats().rejected == {}


NODE = """
const log = require("gelf-pro");
const [port, count] = process.argv.slice(2).map(Number);
log.setConfig({ adapterName: "udp", adapterOptions: { host: "127.0.0.1", port } });
const text = Array.from({ length: 30000 }, (_, i) => (i * 7919) % 10007).join(" ");
const sent = (work) => new Promise((resolve) => work((error) => resolve(error)));
(async () => {
  await sent((done) => log.warning("one", { amount: 1.5 }, done));
  await sent((done) => log.error(new Error("boom"), done));
  await sent((done) => log.info(text, done));
  for (let i = 0; i < count; i++) await sent((done) => log.info(`record ${i}`, done));
})();
"""


@pytest.fixture(scope="session")
def gelf_pro(require: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node.js finds gelf-pro; skipped where npm cannot install it."""
    require("node")
    folder = tmp_path_factory.mktemp("gelf_pro")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "gelf-pro@1.4.0"]
    try:
        subprocess.run(command, cwd=folder, check=True, timeout=60, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm cannot install gelf-pro: {error}")
    return folder


def test_a_library_of_node(
    gelf_pro: Path, require: Callable[..., str], receiver: BatchUDPReceiver, received: Received
) -> None:
    """gelf-pro sends zlib and chunks; fields and errors are understood."""
    (gelf_pro / "program.js").write_text(NODE)
    command = [require("node"), "program.js", str(receiver.address[1]), str(COUNT)]
    subprocess.run(command, cwd=gelf_pro, check=True, timeout=60)
    wait_until(lambda: len(received.records) == COUNT + 3, "the records", 20)
    first, second, third = received.records[:3]
    assert (first.getMessage(), first.levelname) == ("one", "WARNING")
    assert vars(first)["amount"] == 1.5
    assert second.levelname == "ERROR"
    assert "boom" in second.getMessage()
    assert len(third.getMessage().split()) == 30_000
    assert received.texts()[3:] == [f"record {number}" for number in range(COUNT)]
    assert receiver.stats().refused == receiver.stats().rejected == {}


def test_what_docker_sends(receiver: BatchUDPReceiver, received: Received) -> None:
    """The fields of `docker run --log-driver gelf`, as its documentation lists them."""

    message = {
        "version": "1.1",
        "host": "host-1",
        "short_message": "GET / 200",
        "timestamp": 1_700_000_000.123,
        "level": 6,
        "_command": "nginx",
        "_container_id": "d9e6d8f0",
        "_container_name": "web",
        "_created": "2026-11-01T10:00:00Z",
        "_image_id": "sha256:77af",
        "_image_name": "nginx:1.29",
        "_tag": "d9e6d8f0",
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(gzip.compress(json.dumps(message).encode()), receiver.address[:2])
    wait_until(lambda: len(received.records) == 1, "the record", 20)
    record = vars(received.records[0])
    assert (record["name"], record["hostname"]) == ("gelf_far.web", "host-1")
    assert (record["levelname"], record["created"]) == ("INFO", 1_700_000_000.123)
    assert record["image_name"] == "nginx:1.29"
    assert record["created_"] == "2026-11-01T10:00:00Z"
