"""Every setting of both ends at its edges, through a real handler and a real receiver.

The settings and their edges come from the tables, so a new one is tried without a line here.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.cli import send_config
from batchudp_handler.cli.input import Pace, generate_samples
from batchudp_handler.cli.outputs import OutputConfig
from batchudp_handler.cli.script_config import ScriptConfig
from batchudp_handler.config import HandlerConfig, ReceiverConfig
from batchudp_handler.handler import FIXED
from batchudp_handler.settings import settings_of
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.core.send.stats import SenderStats

RECORDS = 3
LONG_ENOUGH = 30.0
"""Seconds for what takes milliseconds, on a machine with other things to do."""
SOON = 10.0
"""Seconds that a `close` may take which has nothing left to do."""

NOT_TRIED = {
    ("ScriptConfig", "workers"): "256 processes are too many for a test",
    ("ScriptConfig", "metrics_port"): "65535 may be somebody's; needs an extra",
    ("SendConfig", "follow"): "does not end by itself",
    ("SendConfig", "doctor"): "sends nothing",
    ("SendConfig", "logs_per_second"): "of samples, see below",
    ("SendConfig", "run_time"): "of samples, see below",
    ("HandlerConfig", "port"): "the receiver's",
    ("ReceiverConfig", "port"): "any free one",
}
SILENT = {("HandlerConfig", "level", 2**63 - 1): "no record has such a level"}
"""Where no record arrives, because that is what the setting says."""


def edges_of(config: type) -> list[Any]:
    return [
        pytest.param(item.name, edge, id=f"{item.name}={edge}")
        for item in settings_of(config)
        if (config.__name__, item.name) not in NOT_TRIED
        for edge in dict.fromkeys(item.kind.edges if item.kind.edges != (None,) else ())
    ]


@contextmanager
def both_ends(
    handler: dict[str, Any], receiver: dict[str, Any]
) -> Iterator[tuple[BatchUDPHandler, BatchUDPReceiver, logging.Logger]]:
    """A receiver on any free port, and a handler that ships to it, on loggers of their own."""
    log = logging.Logger("edges", level=1)
    with ExitStack() as stack:
        place: dict[str, Any] = {"host": "127.0.0.1", "port": 0}
        listening = stack.enter_context(BatchUDPReceiver(**(place | receiver)))
        host, port = listening.address
        made = BatchUDPHandler(**({"host": host, "port": port} | handler))
        stack.callback(made.close)
        log.addHandler(made)
        yield made, listening, log


def run(handler: dict[str, Any], receiver: dict[str, Any]) -> tuple[SenderStats, ReceiverStats]:
    """Log, flush after each record, close both; all of it within bounds."""
    with both_ends(handler, receiver) as (shipping, listening, log):
        for number in range(RECORDS):
            log.info("record %d", number)
            assert shipping.flush(LONG_ENOUGH)
        taken = shipping.stats().accepted
        wait_for(listening, taken)
        began = time.monotonic()
        shipping.close()
    assert time.monotonic() - began < SOON, "close took too long"
    return shipping.stats(), listening.stats()


def wait_for(receiver: BatchUDPReceiver, records: int) -> None:
    wait_until(lambda: receiver.stats().delivered >= records)


def check(sent: SenderStats, received: ReceiverStats, records: int) -> None:
    """Every record has arrived, and neither end has met a mistake of its own."""
    assert sent.accepted == sent.sent + sent.confirmed == records
    assert received.delivered == records
    assert not [name for name in sent.send_errors if name.startswith("internal")]
    assert not received.handler_errors


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
@pytest.mark.parametrize(("name", "edge"), edges_of(HandlerConfig))
def test_a_handler_works_at_the_edge(name: str, edge: object, delivery: str) -> None:
    """Records arrive, `flush` says so, and `close` ends, whatever the setting's extreme."""
    if name == "delivery" or (name == "encoding" and edge == "json"):
        delivery = "one_way" if name == "encoding" else str(edge)
    expected = 0 if ("HandlerConfig", name, edge) in SILENT else RECORDS

    sent, received = run({"delivery": delivery} | {name: edge}, {})

    check(sent, received, expected)


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
@pytest.mark.parametrize(("name", "edge"), edges_of(ReceiverConfig))
def test_a_receiver_works_at_the_edge(name: str, edge: object, delivery: str) -> None:
    """It hears the first sender, and the second, and ends."""
    sent, received = run({"delivery": delivery}, {name: edge})

    check(sent, received, RECORDS)


@pytest.mark.parametrize("name", [item.name for item in settings_of(HandlerConfig)])
def test_a_running_handler_takes_the_edges(name: str) -> None:
    """`reconfigure` uses each extreme, or refuses it and changes nothing."""
    item = next(item for item in settings_of(HandlerConfig) if item.name == name)
    if ("HandlerConfig", name) in NOT_TRIED:
        return
    with both_ends({}, {}) as (handler, receiver, log):
        log.info("before")
        for edge in item.kind.edges:
            assert changes(handler, {name: edge}) or name in FIXED
        handler.reconfigure(level=0)
        log.info("after")
        assert handler.flush(LONG_ENOUGH)
        wait_for(receiver, 2)
        assert receiver.stats().delivered == 2


def changes(handler: BatchUDPHandler, wanted: dict[str, Any]) -> bool:
    """Whether a change is in use; False if it is refused, or the same as before."""
    before = handler.config
    try:
        assert handler.reconfigure(**wanted)
    except ValueError:
        assert handler.config == before
        return False
    return handler.config != before or handler.config == before.replace(wanted)


@pytest.mark.parametrize("name", ["flush_interval", "resolve_interval"])
def test_the_shortest_interval_does_not_spin(name: str) -> None:
    """A handler without work sleeps, also when it may look after it all the time."""
    item = next(item for item in settings_of(HandlerConfig) if item.name == name)
    with both_ends({name: item.kind.edges[0]}, {}) as (handler, _, log):
        log.info("one")
        assert handler.flush(LONG_ENOUGH)
        used, began = time.process_time(), time.monotonic()
        time.sleep(0.3)  # the stretch that is measured
        assert time.process_time() - used < 0.5 * (time.monotonic() - began)


# --- the scripts -------------------------------------------------------------------------------


def flag(config: type, name: str, edge: object) -> list[str]:
    """The edge as people would write it on the command line."""
    item = next(item for item in settings_of(config) if item.name == name)
    if item.kind.is_switch:
        return [item.flags[0] if edge else item.flags[0].replace("--", "--no-", 1)]
    return [f"{item.flags[0]}={'none' if edge is None else edge}"]


@pytest.mark.parametrize(("name", "edge"), edges_of(send_config.SendConfig))
def test_the_sending_script_works_at_the_edge(name: str, edge: object) -> None:
    """A line of standard input arrives, and the script ends by itself."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        host, port = receiver.address
        where = ["--target-host", host, "--target-port", str(port), "--file", "-"]
        command = [sys.executable, "-m", "batchudp_handler", "send", *where]
        ended = subprocess.run(
            [*command, *flag(send_config.SendConfig, name, edge)],
            input=b"a line\n",
            capture_output=True,
            timeout=LONG_ENOUGH,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        wait_for(receiver, 1)


RECEIVE = [
    pytest.param(config, *edge.values, id=f"{config.__name__}.{edge.id}")
    for config in (ScriptConfig, OutputConfig)
    for edge in edges_of(config)
]


@pytest.mark.parametrize(("config", "name", "edge"), RECEIVE)
def test_the_receiving_script_works_at_the_edge(
    config: type, name: str, edge: object, tmp_path: Path
) -> None:
    """A record reaches the output, and SIGTERM ends the script."""
    ready, output = tmp_path / "ready", tmp_path / "output"
    where = ["--host", "127.0.0.1", "--port", "0", "--ready-file", str(ready)]
    command = [sys.executable, "-m", "batchudp_handler", *where, "--output", str(output)]
    command += flag(config, name, edge)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None)
            host, _, port = ready.read_text("utf-8").strip().rpartition(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.sendto(b'{"message": "hi", "level": "error"}', (host, int(port)))
            silent = (name, edge) == ("level", 2**63 - 1)
            wait_until(lambda: silent or (output.exists() and output.read_bytes().count(b"hi")))
        finally:
            process.terminate()
        said, _ = process.communicate(timeout=LONG_ENOUGH)
    assert process.returncode == 0, said


@pytest.mark.parametrize("rate", [0.001, 1.0, 1e9])
@pytest.mark.parametrize("run_time", [5e-324, 0.05])
def test_samples_end_in_time(rate: float, run_time: float) -> None:
    """One where there is time for one, and no wait for the next one after the last."""
    taken: list[logging.LogRecord] = []
    log = logging.Logger("samples")
    log.getChild = lambda _: log  # type: ignore[method-assign,assignment]  # all in one place
    log.addFilter(lambda record: taken.append(record) or False)  # type: ignore[func-returns-value]  # kept, and shown nowhere
    began = time.monotonic()

    generate_samples(log, rate=rate, run_time=run_time)

    assert time.monotonic() - began < SOON
    assert taken or run_time < 0.001


def test_samples_without_end_have_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest rate times the longest time is more than a float holds."""
    seen: list[int] = []

    def stop(_: object, number: int, __: object) -> None:
        seen.append(number)
        if number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("batchudp_handler.cli.input._log_sample", stop)
    with pytest.raises(KeyboardInterrupt):
        generate_samples(logging.Logger("samples"), rate=1e9, run_time=1.7e308)
    assert seen == [0, 1, 2]


def test_the_highest_rate_holds_nobody_back() -> None:
    """A pace of a thousand millions is none."""
    pace = Pace(1e9)
    began = time.monotonic()
    for _ in range(1000):
        pace.wait()
    assert time.monotonic() - began < SOON
