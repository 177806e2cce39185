"""Records that arrive go to the nearest local logger, and nowhere else."""

from __future__ import annotations

import logging
import time

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.records.arrival import arrival_of
from batchudp_handler.receiver import BatchUDPReceiver
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.receiver.reemit import Reemitter, nearest_logger
from tests.receiver.bench import Collector, connected, entry
from tests.support import wait_until


def make_records(*names: str, levelno: int = logging.INFO) -> list[logging.LogRecord]:
    return [logging.LogRecord(name, levelno, "", 0, "m", (), None) for name in names]


def test_nearest_existing_logger(own_loggers: None) -> None:
    """A placeholder is not a logger; the name itself, then its prefixes, then the root."""
    manager = logging.Logger.manager
    shop, deep = logging.getLogger("nearest.shop"), logging.getLogger("nearest.shop.a.b.c")
    expected = {
        "nearest.shop": shop,
        "nearest.shop.a.b": shop,
        "nearest.shop.a.b.c.d": deep,
        "nearest.shopping": manager.root,
        "nearest": manager.root,
        "root": manager.root,
        "": manager.root,
        "..": manager.root,
    }
    assert {name: nearest_logger(name, manager) for name in expected} == expected


def test_remote_records_cannot_speak_as_the_receiver(own_loggers: None) -> None:
    """The receiver's own logger, which operators trust, is not found by name."""
    logging.getLogger("batchudp.receiver")
    manager = logging.Logger.manager
    assert nearest_logger("batchudp.receiver", manager) is manager.root
    assert nearest_logger("batchudp.receiver.x", manager) is manager.root


def test_deep_names_belong_to_the_root_logger(own_loggers: None) -> None:
    """A name has at most 32 parts; nobody looks for one that has more."""
    manager = logging.Logger.manager
    for parts in (31, 32):
        name = ".".join(["test_deep"] + ["x"] * (parts - 1))
        assert nearest_logger(name, manager) is manager.root
        logging.getLogger("test_deep")
        assert nearest_logger(name, manager) is logging.getLogger("test_deep")
        del manager.loggerDict["test_deep"]
    logging.getLogger("test_deep")
    assert nearest_logger(".".join(["test_deep"] + ["x"] * 32), manager) is manager.root


def test_hostile_names_create_nothing(collected: Collector, own_loggers: None) -> None:
    """A hundred thousand names from the network leave the table of loggers as it was."""
    before = len(logging.Logger.manager.loggerDict)
    reemitter = Reemitter()
    for start in range(0, 100_000, 10_000):
        reemitter.deliver(make_records(*(f"a{n}.b.c{n}" for n in range(start, start + 10_000))))
    assert len(collected.records) == 100_000
    assert len(logging.Logger.manager.loggerDict) == before


def test_hostile_levels_fill_no_cache(collected: Collector) -> None:
    """`Logger.isEnabledFor` remembers each level it is asked about; remote ones do not get in."""
    logging.getLogger().isEnabledFor(20)
    before = len(vars(logging.getLogger())["_cache"])
    for levelno in range(1000, 3000):
        Reemitter().deliver(make_records("x", levelno=levelno))
    assert len(collected.records) == 2000
    assert len(vars(logging.getLogger())["_cache"]) == before


def test_levels_decide_before_handlers(collected: Collector, own_loggers: None) -> None:
    """Effective levels, disabled loggers and `logging.disable` work as for local records."""
    logging.getLogger("loud").setLevel(logging.WARNING)
    logging.getLogger("off").disabled = True
    records = [
        *make_records("loud.part", "loud", "off", "other"),
        *make_records("loud.part", levelno=logging.WARNING),
    ]
    assert Reemitter().deliver(records).filtered == 3
    assert [record.name for record in collected.records] == ["other", "loud.part"]
    logging.disable(logging.INFO)
    try:
        assert Reemitter().deliver(make_records("other")).filtered == 1
    finally:
        logging.disable(logging.NOTSET)


def test_logger_classes_decide_themselves(collected: Collector, own_loggers: None) -> None:
    """A logger class with its own `isEnabledFor` is asked."""

    class Odd(logging.Logger):
        def isEnabledFor(self, level: int) -> bool:
            return level % 2 == 1

    manager = logging.Logger.manager
    odd = Odd("odd")
    odd.parent = manager.root
    manager.loggerDict["odd"] = odd
    records = [*make_records("odd", levelno=21), *make_records("odd", levelno=22)]
    assert Reemitter().deliver(records).filtered == 1
    assert [record.levelno for record in collected.records] == [21]


def test_prefix_sets_remote_records_apart(collected: Collector, own_loggers: None) -> None:
    """With a prefix, a local logger of the same name does not get remote records."""
    local = Collector()
    logging.getLogger("app").addHandler(local)
    logging.getLogger("remote").addHandler(remote := Collector())
    Reemitter(prefix="remote.").deliver(make_records("app"))
    assert local.records == []
    assert [record.name for record in remote.records] == ["remote.app"]


def test_records_say_where_they_come_from(collected: Collector) -> None:
    """Address, time and proof are the receiver's word; fields of the sender do not change them.

    Fields of the same names are the sender's own, as they are in its format strings.
    """
    lie = {"remote_addr": "10.0.0.1:1", "authenticated": True, "received": 0, "hops": 0}
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        sent_from = address_text(plain.getsockname())
        plain.send(entry("m", extra=lie, **lie))
        wait_until(lambda: collected.records)
    record = collected.records[0]
    known = arrival_of(record)
    assert known is not None
    assert (known.remote_addr, known.authenticated) == (sent_from, False)
    assert abs(known.received - time.time()) < 60
    assert known.hops >= 1
    assert vars(record)["authenticated"] is True


@pytest.mark.parametrize(("relay", "expected"), [(False, 0), (True, 4)])
def test_a_receiver_does_not_feed_itself(
    relay: bool, expected: int, collected: Collector, own_loggers: None
) -> None:
    """Re-emitted records are not shipped again; with `relay` they stop after four hops."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        host, port = receiver.address[:2]
        handler = BatchUDPHandler(str(host), port, batch_size=1, relay=relay)
        log = logging.getLogger("circle")
        log.addHandler(handler)
        log.warning("round and round")
        again = 1 + expected
        wait_until(lambda: receiver.stats().delivered >= again)
        wait_until(lambda: sum(handler.stats().dropped.values()) == 1)
        handler.close()
        log.removeHandler(handler)
    assert receiver.stats().delivered == again
