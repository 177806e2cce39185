"""A record that comes back to where it was logged ends there."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from batchudp_handler.receiver.diagnostics import SUMMARIES_AT_ONCE
from tests.support import balance, wait_until
from tests.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.config import Delivery
    from batchudp_handler.core.receive.stats import ReceiverStats
    from tests.table import Table

RECORDS = 50
QUIET = 0.3
"""Seconds after which a loop would have gone round many times."""


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger at DEBUG, without the handlers that it has for the suite."""
    made = logging.getLogger()
    level, handlers = made.level, made.handlers[:]
    made.setLevel(logging.DEBUG)
    made.handlers.clear()
    yield made
    made.setLevel(level)
    made.handlers[:] = handlers


def note(table: Table, case: str, receiver: ReceiverStats, began: float) -> None:
    """Put a loop into the table: whatever came back counts as duplicated."""
    came = receiver.delivered
    lost, more = max(RECORDS - came, 0), max(came - RECORDS, 0)
    table.add_row(Row(case, RECORDS, came, lost, more, time.monotonic() - began))


def dropped(handler: BatchUDPHandler, cause: str) -> int:
    """How many records a handler dropped for one cause."""
    return handler.stats().dropped.get(cause, 0)


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
@pytest.mark.parametrize(("relay", "laps"), [(False, 0), (True, 4)])
def test_a_receiver_that_ships_to_itself(
    root: logging.Logger, delivery: Delivery, relay: bool, laps: int, table: Table
) -> None:
    """With the root at DEBUG each record arrives once, or with `relay` five times, and no more."""
    began = time.monotonic()
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        handler = BatchUDPHandler(*receiver.address, delivery=delivery, relay=relay)
        root.addHandler(handler)
        for number in range(RECORDS):
            logging.getLogger("loop").debug("n %d", number)
        wait_until(lambda: handler.flush(1.0) and dropped(handler, "relay") == RECORDS)
        time.sleep(QUIET)
        root.removeHandler(handler)
        handler.close()
    stats = handler.stats()
    case = f"receiver ships to itself, {delivery}{', relay, 4 hops' if relay else ''}"
    note(table, case, receiver.stats(), began)
    assert stats.dropped == {"relay": RECORDS}
    assert receiver.stats().delivered == RECORDS * (1 + laps)
    assert stats.accepted == balance(stats) == RECORDS * (2 + laps)


@contextlib.contextmanager
def station(name: str) -> Iterator[tuple[BatchUDPReceiver, logging.Logger]]:
    """A receiver whose records go to one logger, from where they are to be shipped on."""
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    with BatchUDPReceiver("127.0.0.1", 0, logger_prefix=name + ".") as receiver:
        yield receiver, logger
    for handler in logger.handlers[:]:
        handler.close()
    logger.handlers.clear()


@pytest.mark.parametrize(
    ("relay", "at_b", "at_a", "stops_at"), [(False, 1, 0, "b"), (True, 3, 2, "b")]
)
def test_two_receivers_that_ship_to_each_other(
    relay: bool, at_b: int, at_a: int, stops_at: str, table: Table
) -> None:
    """From A to B and back to A: it ends at the first hop, or with `relay` at the fifth."""
    began = time.monotonic()
    with station("net_a") as (receiver_a, logger_a), station("net_b") as (receiver_b, logger_b):
        to_b = BatchUDPHandler(*receiver_b.address, relay=relay)
        to_a = BatchUDPHandler(*receiver_a.address, relay=relay)
        logger_a.addHandler(to_b)
        logger_b.addHandler(to_a)
        for number in range(RECORDS):
            logger_a.info("n %d", number)
        ends = {"a": to_b, "b": to_a}
        wait_until(lambda: dropped(ends[stops_at], "relay") == RECORDS)
        time.sleep(QUIET)
        note(table, f"A to B to A{', relay' if relay else ''}", receiver_b.stats(), began)
        assert receiver_b.stats().delivered == RECORDS * at_b
        assert receiver_a.stats().delivered == RECORDS * at_a
        assert dropped(to_a, "relay") + dropped(to_b, "relay") == RECORDS


def test_what_the_sending_itself_logs_is_not_sent(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    """Instrumented look-ups and sends, root at DEBUG: each message is counted, none is shipped."""
    began = time.monotonic()
    loud = logging.getLogger("instrumented")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        handler = BatchUDPHandler(*receiver.address, batch_size=1)
        transport = type(handler._flusher._get_loop().transport)
        said = 0

        def loudly(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object) -> object:
                nonlocal said
                said += 1
                loud.error("about to call %s", real.__name__)
                return real(*arguments)

            return call

        for name in ("open", "send"):
            monkeypatch.setattr(transport, name, loudly(getattr(transport, name)))
        root.addHandler(handler)
        for number in range(RECORDS):
            logging.getLogger("loop").info("n %d", number)
        wait_until(lambda: receiver.stats().delivered == RECORDS)
        time.sleep(QUIET)
        while_attached = said
        assert while_attached < 20 * RECORDS
        root.removeHandler(handler)
        handler.close()
    stats = handler.stats()
    note(table, "root at DEBUG, our own sending logs", receiver.stats(), began)
    assert (stats.sent, receiver.stats().delivered) == (RECORDS, RECORDS)
    assert stats.dropped == {"relay": RECORDS, "self_log": while_attached}


def test_what_the_receiver_says_about_itself_is_shipped_once(root: logging.Logger) -> None:
    """Its warnings reach a handler that ships to it, come back under another name, and end."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        handler = BatchUDPHandler(*receiver.address)
        root.addHandler(handler)
        sink = BatchUDPHandler(*receiver.address, capacity=1, overflow="drop_newest")
        lossy = logging.getLogger("lossy")
        lossy.propagate = False
        lossy.addHandler(sink)
        for number in range(100):
            lossy.info("n %d", number)
        lost = dropped(sink, "buffer_full")
        lossy.removeHandler(sink)
        sink.close()

        def is_quiet() -> bool:
            """The warnings came back and met `handler` as relayed, and none followed."""
            before = handler.stats().accepted
            time.sleep(QUIET)
            handler.flush(1.0)
            after = handler.stats()
            return before == after.accepted == 2 * after.sent > 0

        wait_until(is_quiet)
        own = handler.stats()
        root.removeHandler(handler)
        handler.close()
    assert lost > 0
    assert 1 <= own.sent <= 3
    assert own.accepted == balance(own) == 2 * own.sent


def test_a_closed_handler_that_stays_attached_makes_no_storm(root: logging.Logger) -> None:
    """A late record is a stream of its own, and its end is a late record: that does not go on."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        handler = BatchUDPHandler(*receiver.address)
        root.addHandler(handler)
        logging.getLogger("loop").info("hello")
        handler.close()  # and stays attached, as after `logging.shutdown`
        for number in range(3):
            logging.getLogger("loop").info("late %d", number)
        wait_until(lambda: receiver.stats().delivered >= 4)
        time.sleep(2 * QUIET)
        assert receiver.stats().delivered <= 4 + SUMMARIES_AT_ONCE
        assert dropped(handler, "relay") <= 4 + SUMMARIES_AT_ONCE
