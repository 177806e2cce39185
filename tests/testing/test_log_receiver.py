"""The fixture `log_receiver`, used as its users use it."""

from __future__ import annotations

import logging
import logging.config
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.testing.log_receiver import LogReceiver

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

log = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As programs do that want to see their INFO records."""
    caplog.set_level(logging.DEBUG)


def test_records_arrive(log_receiver: LogReceiver) -> None:
    """What is logged arrives as it was: message, args, level and name of its logger."""
    log_receiver.handler()
    log.info("order %s paid: %.2f", "A-17", 12.5, extra={"customer": 7})
    [record] = log_receiver.wait_for(1)
    assert record.getMessage() == "order A-17 paid: 12.50"
    assert (record.name, record.levelno, record.args) == ("shop.orders", 20, ("A-17", 12.5))
    assert vars(record)["customer"] == 7


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_nothing_has_to_be_waited_for(log_receiver: LogReceiver, delivery: str) -> None:
    """Records of own handlers are there when they are asked for, few or many."""
    log_receiver.handler(delivery=delivery)
    for n in range(500):
        log.info("%d", n)
    assert [record.args for record in log_receiver.records] == [(n,) for n in range(500)]


def test_has_record(log_receiver: LogReceiver) -> None:
    """Each condition that is given must hold for one and the same record."""
    log_receiver.handler()
    log.warning("disk %d%% full", 93)
    logging.getLogger("shop.web").error("no answer")
    assert log_receiver.has_record()
    assert log_receiver.has_record(level="WARNING", match=r"disk \d+% full", logger="shop.orders")
    assert log_receiver.has_record(level=logging.ERROR)
    assert not log_receiver.has_record(level="ERROR", logger="shop.orders")
    assert not log_receiver.has_record(match="full$", logger="shop.web")
    assert not log_receiver.has_record(logger="shop")
    assert not log_receiver.has_record(level="INFO")


def test_a_level_that_does_not_exist(log_receiver: LogReceiver) -> None:
    """A typing error does not pass as "no such record"."""
    with pytest.raises(ValueError, match="'WARN1NG' is not the name of a level"):
        log_receiver.has_record(level="WARN1NG")


def test_wait_for_says_what_arrived(log_receiver: LogReceiver) -> None:
    """A failing test shows what was there instead."""
    log_receiver.handler()
    log.info("only this")
    with pytest.raises(AssertionError, match=r"1 of 2 records.*\n  INFO shop.orders: only this"):
        log_receiver.wait_for(2, timeout=0.1)


def test_clear(log_receiver: LogReceiver) -> None:
    """What came before is forgotten, also what was still on its way."""
    log_receiver.handler()
    log.info("before")
    log_receiver.clear()
    log.info("after")
    assert [record.getMessage() for record in log_receiver.records] == ["after"]


def test_records_come_once(log_receiver: LogReceiver, caplog: pytest.LogCaptureFixture) -> None:
    """The received record reaches no handler of this process again."""
    log_receiver.handler()
    log.info("once")
    assert len(log_receiver.wait_for(1)) == 1
    assert caplog.messages == ["once"]


def test_a_program_that_configures_logging(log_receiver: LogReceiver) -> None:
    """dictConfig in the tested code, which disables all existing loggers, does no harm."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    host, port = log_receiver.address
    entry = {"class": "batchudp_handler.BatchUDPHandler", "host": host, "port": port}
    config = {"version": 1, "handlers": {"udp": entry}, "root": {"handlers": ["udp"], "level": 10}}
    logging.config.dictConfig(config)
    try:
        logging.getLogger("configured").info("hello")
        assert log_receiver.has_record(match="hello", timeout=60)
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        log.disabled = False


def test_records_of_another_process(log_receiver: LogReceiver) -> None:
    """A program that is tested from outside ships to the address; look until it is there."""
    code = """
import logging, sys
from batchudp_handler import BatchUDPHandler
logging.basicConfig(handlers=[BatchUDPHandler(sys.argv[1])])
logging.getLogger("tool").warning("done")
"""
    address = "{}:{}".format(*log_receiver.address)
    with subprocess.Popen([sys.executable, "-c", code, address]):
        assert log_receiver.has_record(match="done", logger="tool", timeout=60)


def test_two_at_a_time() -> None:
    """Two receivers keep their records apart."""
    with LogReceiver() as one, LogReceiver() as two:
        one.handler(logger="shop.one")
        two.handler(logger=logging.getLogger("shop.two"))
        logging.getLogger("shop.one").info("1")
        logging.getLogger("shop.two").info("2")
        assert [r.getMessage() for r in one.records] == ["1"]
        assert [r.getMessage() for r in two.records] == ["2"]


def test_nothing_is_left_behind() -> None:
    """After the test there is no handler, no logger, no thread."""
    root = logging.getLogger()
    before = (list(root.handlers), set(logging.Logger.manager.loggerDict))
    threads = set(threading.enumerate())
    with LogReceiver() as receiver:
        receiver.handler()
        log.info("x")
    receiver.close()
    assert (list(root.handlers), set(logging.Logger.manager.loggerDict)) == before
    assert set(threading.enumerate()) <= threads


def test_records_at_the_end_are_received() -> None:
    """What was logged last is among the records after the end."""
    with LogReceiver() as receiver:
        receiver.handler(delivery="one_way", flush_interval=60)
        for n in range(5):
            log.info("%d", n)
    assert [record.args for record in receiver.records] == [(n,) for n in range(5)]


def test_disabled_logging_does_not_delay(log_receiver: LogReceiver) -> None:
    """Records that logging.disable keeps from the receiver's logger are not waited for."""
    log_receiver.handler()
    log.info("x")
    logging.disable(logging.CRITICAL)
    try:
        start = time.monotonic()
        log_receiver.has_record(match="x")
        assert time.monotonic() - start < 4.0
    finally:
        logging.disable(logging.NOTSET)


def test_the_plugin_offers_the_fixture(pytester: pytest.Pytester) -> None:
    """Where the package is installed, a test asks for `log_receiver` and gets it."""
    pytester.makepyfile(
        """
        import logging

        def test_shipping(log_receiver):
            log_receiver.handler("shop")
            logging.getLogger("shop").error("out of stock: %s", "tea")
            assert log_receiver.has_record(level="ERROR", match="tea$", logger="shop")
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)


def test_the_example(pytester: pytest.Pytester, repository: Path) -> None:
    """The tests that the documentation shows pass."""
    pytester.copy_example(str(repository / "examples" / "testing"))
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=2)


def test_the_plugin_costs_nothing_until_it_is_used(tmp_path: Path) -> None:
    """A run without the fixture imports neither the receiver nor the handler's socket side."""
    code = """
import sys
import batchudp_handler.testing.plugin
names = [name for name in sys.modules if name.startswith("batchudp_handler.receiver")]
print(names)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
