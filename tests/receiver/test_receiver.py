"""A receiver takes what arrives, hands it to local logging, and ends well."""

from __future__ import annotations

import inspect
import json
import logging
import threading
import time
import zlib

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.config import ConfigError, ReceiverConfig, settings_of
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.receiver import BatchUDPReceiver
from tests.receiver.bench import Collector, connected, entry, version_1
from tests.support import wait_until

FORMS = {
    "one object": entry("hi", level="warning"),
    "an array": b"[" + entry("hi", level="warning") + b"]",
    "magic, plain": b"\xcb\xf2\x00" + entry("hi", level="warning"),
    "magic, zlib": b"\xcb\xf2\x01" + zlib.compress(entry("hi", level="warning")),
}


@pytest.mark.parametrize("datagram", FORMS.values(), ids=FORMS)
def test_baseline_forms(datagram: bytes, collected: Collector) -> None:
    """What `nc` or a few lines in any language can send becomes a record."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(datagram)
        wait_until(lambda: collected.records)
    (record,) = collected.records
    assert (record.getMessage(), record.levelno, record.levelname) == ("hi", 30, "WARNING")
    assert receiver.stats().delivered == 1


def test_version_1_keeps_the_numbers(collected: Collector) -> None:
    """A stream with a hole is delivered around it, and the hole is counted exactly."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(version_1("a", "b", rec=0, seq=0))
        plain.send(version_1("c", rec=5, seq=2))
        wait_until(lambda: len(collected.records) == 3)
    assert collected.messages[:3] == ["a", "b", "c"]
    stats = receiver.stats()
    assert (stats.delivered, stats.lost + stats.missing) == (3, 3)
    (stream,) = stats.streams.values()
    assert stream.next_rec - stream.first_rec == 6


def test_a_handler_and_a_receiver(collected: Collector) -> None:
    """What one process logs, another one's handlers get, in order and attribute by attribute."""
    log = logging.Logger("shop.orders")  # belongs to no hierarchy: as if in another process
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        host, port = receiver.address[:2]
        handler = BatchUDPHandler(str(host), port, batch_size=100)
        log.addHandler(handler)
        for number in range(1000):
            log.info("order %d", number, extra={"number": number})
        assert handler.flush(10)
        handler.close()
        wait_until(lambda: receiver.stats().delivered == 1000)
    stats = receiver.stats()
    assert (stats.delivered, stats.lost, stats.missing, stats.kernel_drops) == (1000, 0, 0, 0)
    records = [record for record in collected.records if record.name == "shop.orders"]
    assert [record.getMessage() for record in records] == [f"order {n}" for n in range(1000)]
    assert [vars(record)["number"] for record in records] == list(range(1000))


def test_hostile_datagrams_end_nothing(collected: Collector) -> None:
    """Garbage of every kind is counted once, and the next record arrives."""
    good = version_1("x")
    hostile = [
        b"",
        b"\x00",
        b"\xff" * 100,
        b"\xcb\xf2",
        b"\xcb\xf2\x01not zlib",
        b"\xcb\xf2\x7f",
        b"\xcb\xf2\x01" + zlib.compress(b"[" * 500_000),
        b"\xcb\xf2\x01" + zlib.compress(bytes(20_000_000))[:60_000],
        b"[" * 60_000,
        b"{" + b'"a":' * 10_000,
        b"NaN",
        b"12345",
        b'"text"',
        b"[1, 2, 3]",
        *(good[:length] for length in range(0, len(good), 7)),
        *(good[:i] + bytes([good[i] ^ 0x55]) + good[i + 1 :] for i in range(0, len(good), 5)),
        version_1("a", "b", n_rec=1, seq=9),
    ]
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        for datagram in hostile:
            plain.send(datagram)
        plain.send(entry("still here"))
        wait_until(lambda: "still here" in collected.messages)
    stats = receiver.stats()
    assert stats.datagrams_received == len(hostile) + 1
    assert sum(stats.refused.values()) + sum(stats.rejected.values()) >= len(hostile)
    (message,) = {r.getMessage() for r in collected.records if r.name != "batchudp.receiver"}
    assert message == "still here"


def test_more_records_than_promised_are_refused(collected: Collector) -> None:
    """A batch that contradicts its header would break the stream's numbers: none of it counts."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(version_1("a", "b", "c", n_rec=2))
        wait_until(lambda: receiver.stats().rejected)
    assert receiver.stats().rejected == {"record_count": 2}
    assert not [record for record in collected.records if record.name == "app"]


def test_raising_handlers_are_counted(collected: Collector) -> None:
    """A handler that raises, or tries to end the process, costs its own record only."""

    class Raising(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            if record.msg == "bad":
                raise ZeroDivisionError
            if record.msg == "exit":
                raise SystemExit
            return True

    raising = Raising()
    collected_after = logging.getLogger()
    collected_after.addHandler(raising)
    try:
        with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
            plain.send(b"[" + b",".join(map(entry, ("good", "bad", "exit", "fine"))) + b"]")
            wait_until(lambda: receiver.stats().delivered == 4)
    finally:
        collected_after.removeHandler(raising)
    stats = receiver.stats()
    assert (stats.delivered, stats.handler_errors) == (4, 2)
    assert collected.messages[:4] == ["good", "bad", "exit", "fine"]
    message = "a local handler raised on 2 records, latest SystemExit in Raising"
    assert message in collected.messages


def test_an_output_that_fails_after_a_batch_is_counted(collected: Collector) -> None:
    """What could not be written is a handler's error on every record of the batch."""

    def fail() -> None:
        raise OSError("disk full")

    with (
        BatchUDPReceiver("127.0.0.1", 0, after_batch=fail) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(b"[" + b",".join(map(entry, "abc")) + b"]")
        wait_until(lambda: receiver.stats().handler_errors)
    assert receiver.stats().handler_errors == 3


def test_shutdown_finishes_what_arrived(collected: Collector) -> None:
    """Records that wait in the kernel and in the queue are delivered before shutdown returns."""
    slow = threading.Event()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            slow.wait(0.005)

    handler = Slow()
    logging.getLogger().addHandler(handler)
    try:
        receiver = BatchUDPReceiver("127.0.0.1", 0)
        with connected(receiver.address) as plain:
            for number in range(100):
                plain.send(entry(str(number)))
        with receiver:
            pass
    finally:
        logging.getLogger().removeHandler(handler)
    assert receiver.stats().delivered == 100
    assert collected.messages == [str(number) for number in range(100)]


def test_shutdown_does_not_wait_for_ever(collected: Collector) -> None:
    """A handler that hangs delays shutdown by its timeout, and what waited is not called done."""
    release = threading.Event()

    class Hanging(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            release.wait(30)

    handler = Hanging()
    logging.getLogger().addHandler(handler)
    try:
        receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=0.2)
        with connected(receiver.address) as plain:
            plain.send(entry("one"))
            plain.send(entry("two"))
        started = time.monotonic()
        with receiver:
            wait_until(lambda: collected.records)
        assert time.monotonic() - started < 5
        assert receiver.stats().delivered == 0
    finally:
        logging.getLogger().removeHandler(handler)
        release.set()
    wait_until(lambda: receiver.stats().delivered == 1)


def test_shutdown_from_a_handler_only_asks(own_loggers: None) -> None:
    """A handler may end the receiver that called it without waiting for itself."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, shutdown_timeout=60)

    class Ending(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            receiver.shutdown()

    logging.getLogger("ending").addHandler(Ending())
    with connected(receiver.address) as plain:
        plain.send(entry("end", name="ending", level="critical"))
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    receiver.close()
    receiver.close()


def test_it_serves_once() -> None:
    """After the end the socket is gone; serving again is a mistake that is told."""
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        pass
    with pytest.raises(RuntimeError, match="once"):
        receiver.serve_forever()


def test_close_without_serving_frees_the_port() -> None:
    """A receiver that was only made can be closed, and its port be taken again."""
    receiver = BatchUDPReceiver("127.0.0.1", 0)
    port = receiver.address[1]
    with pytest.raises(OSError, match="in use"):
        BatchUDPReceiver("127.0.0.1", port)
    receiver.close()
    BatchUDPReceiver("127.0.0.1", port).close()


def test_functions_run_between_batches(collected: Collector) -> None:
    """What is handed in runs on the handlers' thread, after the batches that came before it."""
    seen: list[tuple[str, list[str]]] = []
    receiver = BatchUDPReceiver("127.0.0.1", 0)

    def look() -> None:
        seen.append((threading.current_thread().name, collected.messages[:1]))

    def fail() -> None:
        raise ValueError("x")

    with connected(receiver.address) as plain:
        plain.send(entry("m"))
        with receiver:
            wait_until(lambda: collected.records)
            receiver.call_between_batches(fail)
            receiver.call_between_batches(look)
            wait_until(lambda: seen)
    assert seen == [("batchudp-worker", ["m"])]


def test_what_a_limit_takes_is_counted(collected: Collector) -> None:
    """Delivered all the same: texts are cut, fields left out, templates shown as they came."""
    limits = DecodeLimits(text_characters=10, extras=1, name_characters=5)
    untrusted = {
        "host": "h",
        "time": 1_700_000_000_000_000,
        "sites": [["n", 20, "INFO", "/x.py", 1, "f", "%99999999d", 1]],
        "origins": [[1, "p", 1, "t", None]],
        "site": [0],
        "delta": [],
        "values": [[[5]]],
    }
    datagrams = (
        entry("m" * 12, name="n" * 9),
        entry("m", extra={"a": 1, "b": 2, "c": 3}),
        json.dumps(untrusted).encode(),
        entry("m"),
    )
    with (
        BatchUDPReceiver("127.0.0.1", 0, limits=limits) as receiver,
        connected(receiver.address) as plain,
    ):
        for datagram in datagrams:
            plain.send(datagram)
        wait_until(lambda: receiver.stats().delivered == 4)
    assert len(collected.records) == 4
    assert receiver.stats().trimmed == {"texts": 2, "fields": 2, "templates": 1}


def test_signature_and_settings_agree() -> None:
    """Every setting of the table is a keyword with the same default."""
    parameters = inspect.signature(BatchUDPReceiver.__init__).parameters
    table = {item.name: item.default for item in settings_of(ReceiverConfig)}
    assert {name: parameters[name].default for name in table} == table


def test_bad_settings_are_refused_before_binding() -> None:
    """A wrong value is a ValueError that says what is allowed."""
    with pytest.raises(ConfigError, match="port must be"):
        BatchUDPReceiver("127.0.0.1", "x")


def test_stats_may_be_read_from_any_thread(collected: Collector) -> None:
    """Reading the counters while records arrive neither fails nor disturbs."""
    failures: list[RuntimeError] = []
    done = threading.Event()
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:

        def read() -> None:
            try:
                while not done.is_set():
                    receiver.stats()
            except RuntimeError as error:  # such as a dictionary that changed its size
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(300):
            plain.send(version_1("m", rec=number, seq=number))
        wait_until(lambda: receiver.stats().delivered == 300)
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
