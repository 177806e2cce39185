"""The table on the first page of the README holds.

One test for each of its rows, over real sockets, with nothing but the public names. The last test
compares this file with the table.
"""

from __future__ import annotations

import json
import logging
import pickle
import random
import re
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.testing.faultproxy import FaultProxy, Faults, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parent.parent
DEADLINE = 30.0


class Collector(logging.Handler):
    """Keeps what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "bad":
            raise RuntimeError("this handler does not like it")
        self.records.append(record)

    def numbers(self) -> list[int]:
        """The last argument of each record."""
        return [record.args[-1] for record in self.records if isinstance(record.args, tuple)]  # type: ignore[misc]  # always numbers here


@pytest.fixture
def far() -> Iterator[Collector]:
    """What the receiver's loggers got; remote names begin with `far.` there."""
    collector, log = Collector(), logging.getLogger("far")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(collector)
    yield collector
    log.removeHandler(collector)


@pytest.fixture
def receiver(far: Collector) -> Iterator[BatchUDPReceiver]:
    """A receiver in the background."""
    with BatchUDPReceiver("127.0.0.1", 0, logger_prefix="far.") as receiver:
        yield receiver


def logger_with(handler: logging.Handler) -> logging.Logger:
    """A logger that has this handler and no other."""
    log = logging.getLogger("guarantee")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.handlers = [handler]
    return log


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def address_of(receiver: BatchUDPReceiver) -> tuple[str, int]:
    host, port = receiver.address[:2]
    return str(host), int(port)


def run(program: str, *arguments: str) -> None:
    """Run a program to its normal end."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    subprocess.run(command, timeout=DEADLINE, check=True)


def test_the_caller_does_not_wait() -> None:
    """With nobody listening and the socket refused, no call takes noticeable time or raises."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    handler = BatchUDPHandler("127.0.0.1", port, shutdown_timeout=0.5)
    log, slowest = logger_with(handler), 0.0

    for number in range(2_000):
        before = time.perf_counter()
        log.info("record %d", number)
        slowest = max(slowest, time.perf_counter() - before)
    handler.close()

    assert slowest < 0.5
    stats = handler.stats()
    assert stats.accepted == 2_000 == stats.sent + sum(stats.dropped.values())


def test_a_full_buffer_is_counted(receiver: BatchUDPReceiver, far: Collector) -> None:
    """What a small buffer drops is counted here, and told to the receiver."""
    handler = BatchUDPHandler(*address_of(receiver), capacity=5, overflow="drop_newest")
    log = logger_with(handler)

    for number in range(20_000):
        log.info("record %d", number)
    handler.close()

    near = handler.stats()
    dropped = sum(near.dropped.values())
    assert dropped > 0
    assert near.accepted == 20_000 == near.sent + dropped
    wait_for(lambda: receiver.stats().sender_dropped == dropped)
    stats = receiver.stats()
    assert near.sent == stats.delivered + stats.lost + stats.missing


def test_loss_is_counted(receiver: BatchUDPReceiver, far: Collector) -> None:
    """Of datagrams that a third of the time do not arrive, the receiver knows how many records."""
    with FaultProxy(address_of(receiver), Scenario.steady(seed=7)) as proxy:
        handler = BatchUDPHandler(*proxy.address, max_datagram_size=600)
        log = logger_with(handler)
        log.info("record %d", 0)
        assert handler.flush(DEADLINE)
        wait_for(lambda: len(far.records) == 1)
        proxy.change(Faults(loss=0.33))
        for number in range(1, 5_000):
            log.info("record %d", number)
        assert handler.flush(DEADLINE)
        wait_for(lambda: passed_or_lost(proxy) >= handler.stats().datagrams_sent)
        proxy.change()
        handler.close()
        wait_for(lambda: receiver.stats().delivered + gone(receiver) == 5_000)

    numbers = far.numbers()
    assert gone(receiver) > 0
    assert len(numbers) == len(set(numbers)) == receiver.stats().delivered


def gone(receiver: BatchUDPReceiver) -> int:
    stats = receiver.stats()
    return stats.lost + stats.missing


def passed_or_lost(proxy: FaultProxy) -> int:
    counters = proxy.counters()["to_receiver"]
    return counters["forwarded"] + counters["lost"]


def test_repeated_and_reordered_datagrams(receiver: BatchUDPReceiver, far: Collector) -> None:
    """Whatever the network repeats or turns around, each record is delivered once."""
    faults = Faults(duplicate=0.5, copies=3, reorder=0.5, reorder_delay=0.02)
    with FaultProxy(address_of(receiver), Scenario.steady(faults, seed=3)) as proxy:
        handler = BatchUDPHandler(*proxy.address, max_datagram_size=600)
        log = logger_with(handler)
        for number in range(3_000):
            log.info("record %d", number)
        handler.close()
        wait_for(lambda: len(far.records) >= 3_000)

    stats = receiver.stats()
    assert sorted(far.numbers()) == list(range(3_000))
    assert (stats.delivered, stats.lost + stats.missing) == (3_000, 0)
    assert stats.duplicates > 0


def test_the_end_of_the_program(receiver: BatchUDPReceiver, far: Collector) -> None:
    """A program that just ends has sent everything."""
    run(
        """if True:
        import logging, sys
        from batchudp_handler import BatchUDPHandler
        logging.basicConfig(level="INFO", handlers=[BatchUDPHandler(sys.argv[1])])
        for number in range(1_000):
            logging.info("record %d", number)
        """,
        "{}:{}".format(*address_of(receiver)),
    )

    wait_for(lambda: len(far.records) == 1_000)
    assert far.numbers() == list(range(1_000))


def test_fork(receiver: BatchUDPReceiver, far: Collector) -> None:
    """Parent and child each deliver their own records, once, as two streams."""
    run(
        """if True:
        import logging, os, sys, warnings
        from batchudp_handler import BatchUDPHandler
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 dislikes forks with threads
        handler = BatchUDPHandler(sys.argv[1], batch_size=1_000)
        logging.basicConfig(level="INFO", handlers=[handler])
        for number in range(100):
            logging.info("before %d", number)
        child = os.fork()
        for number in range(100, 200):
            logging.info("%s %d", "parent" if child else "child", number)
        if child:
            os.waitpid(child, 0)
        """,
        "{}:{}".format(*address_of(receiver)),
    )

    wait_for(lambda: len(far.records) >= 300)
    texts = [record.getMessage() for record in far.records]
    expected = [f"before {n}" for n in range(100)]
    expected += [f"{who} {n}" for who in ("child", "parent") for n in range(100, 200)]
    assert sorted(texts) == sorted(expected)
    assert receiver.stats().streams_seen == 2


def test_a_handler_that_raises(receiver: BatchUDPReceiver, far: Collector) -> None:
    """A handler on the far side that raises is counted, and the next records arrive."""
    handler = BatchUDPHandler(*address_of(receiver))
    log = logger_with(handler)

    log.error("good %d", 1)
    log.error("bad")
    log.error("good %d", 2)
    handler.close()

    wait_for(lambda: len(far.records) == 2)
    wait_for(lambda: receiver.stats().delivered == 3)
    assert receiver.stats().handler_errors == 1


def hostile() -> list[bytes]:
    """What an attacker might send."""
    chance = random.Random(1)
    bomb = zlib.compress(b"[" + b" " * 50_000_000 + b"]", 9)
    return [
        b"",
        b"{",
        pickle.dumps({"name": "x", "msg": "pickled"}),
        b"\xcb\xf2\x01" + bomb,
        b"[" * 60_000,
        b'{"message": "' + b"x" * 60_000,
        json.dumps({"msg": "%99999999d", "args": [1]}).encode(),
        b"\xcb\xf2\x81" + chance.randbytes(1_000),
        *(chance.randbytes(chance.randrange(1, 1_400)) for _ in range(200)),
        *(b"\xcb\xf2\x81\x01" + chance.randbytes(60) for _ in range(200)),
    ]


def test_hostile_datagrams(receiver: BatchUDPReceiver, far: Collector) -> None:
    """Garbage, bombs and pickles are refused and counted, and good records still arrive."""
    loggers = len(logging.Logger.manager.loggerDict)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        attacker.connect(address_of(receiver))
        for datagram in hostile():
            attacker.send(datagram)
        attacker.send(b'{"name": "' + b"a." * 10_000 + b'", "message": "long name"}')
    handler = BatchUDPHandler(*address_of(receiver))
    logger_with(handler).error("still here")
    handler.close()

    wait_for(lambda: any(r.getMessage() == "still here" for r in far.records))
    stats = receiver.stats()
    assert sum(stats.refused.values()) + sum(stats.rejected.values()) > 400
    assert "pickled" not in [r.getMessage() for r in far.records]
    assert all(len(r.getMessage()) < 100_000 for r in far.records)
    assert len(logging.Logger.manager.loggerDict) - loggers <= 2


def test_records_arrive_as_they_were(receiver: BatchUDPReceiver, far: Collector) -> None:
    """A formatter that shows everything prints the same on both sides."""
    handler, near = BatchUDPHandler(*address_of(receiver)), Collector()
    log = logger_with(handler)
    log.addHandler(near)

    log.info("order %s paid: %.2f in %d ms", "A-17", 12.5, 3, extra={"item": "tea", "left": 3})
    log.log(25, "a level of its own, %r", {"a": [1, None, True]}, stack_info=True)
    try:
        raise ValueError("no such order")
    except ValueError:
        log.exception("order %(id)s refused", {"id": "A-18"})
    handler.close()

    wait_for(lambda: len(far.records) == 3)
    names = (
        "asctime levelname levelno pathname filename module lineno funcName process processName"
    )
    names += " thread threadName msecs message"
    style = " ".join(f"{{{name}}}" for name in names.split()) + " {created:.6f}"
    formatter = logging.Formatter(style, style="{")
    assert [formatter.format(r) for r in far.records] == [
        formatter.format(r) for r in near.records
    ]
    assert (far.records[0].__dict__["item"], far.records[0].__dict__["left"]) == ("tea", 3)


def test_the_table_names_these_tests() -> None:
    """Each row of the README's table links to a test of this file, and none is left out."""
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    linked = re.findall(r"\[`(test_\w+)`\]\(tests/test_guarantees\.py\)", readme)
    tests = [name for name in globals() if name.startswith("test_")]

    assert sorted(linked) == sorted(set(tests) - {"test_the_table_names_these_tests"})
