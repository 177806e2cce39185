"""The receiver on real sockets: all is delivered or counted, and nothing ends the loop."""

from __future__ import annotations

import inspect
import json
import logging
import socket
import struct
import threading
import time
import zlib
from base64 import b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.config import ConfigError, ReceiverConfig, settings_of
from batchudp_handler.core.payload.codec import compress, encode_compact
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.events import RecordsLost, SenderDropped
from batchudp_handler.core.receive.receiver import ReceiverProtocol
from batchudp_handler.core.records.arrival import arrival_of
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.records.snapshot import snapshot
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data
from batchudp_handler.receiver import BatchUDPReceiver, receive_socket
from batchudp_handler.receiver.diagnostics import Diagnostics
from batchudp_handler.receiver.receive_socket import ReceiveSocket, address_text
from batchudp_handler.receiver.reemit import Reemitter, nearest_logger
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from batchudp_handler.core.receive.events import Address, BatchReceived


class Collector(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def collected() -> Iterator[Collector]:
    """What reaches the root logger."""
    collector, root = Collector(), logging.getLogger()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.NOTSET)
    yield collector
    root.removeHandler(collector)
    root.setLevel(level)


@pytest.fixture
def own_loggers() -> Iterator[None]:
    """Loggers that a test makes do not outlive it."""
    manager = logging.Logger.manager
    before = dict(manager.loggerDict)
    yield
    manager.loggerDict.clear()
    manager.loggerDict.update(before)


@contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    """A plain socket that sends to a receiver."""
    if isinstance(address, str):
        family, target = socket.AF_UNIX, address.removeprefix("unix://")
    else:
        family = socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET
        target = address  # type: ignore[assignment]  # host and port
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        plain.connect(target)
        yield plain


def entry(message: str, **fields: object) -> bytes:
    return json.dumps({"message": message, **fields}).encode()


def version_1(*messages: str, rec: int = 0, seq: int = 0, n_rec: int | None = None) -> bytes:
    """A one-way DATA datagram, made by the core."""
    snapshots = [
        snapshot(
            logging.LogRecord("app", logging.INFO, "/srv/app.py", 1, message, (), None),
            format_exception=str,
        )
        for message in messages
    ]
    payload = encode_compact([each for each in snapshots if each], BatchHeader("host"))
    codec, body = compress(payload)
    return encode_data(
        CHECKSUM,
        body,
        acknowledged=False,
        codec=codec,
        stream_id=77,
        seq=seq,
        rec=rec,
        sealed_at=int(time.time()),
        n_rec=len(messages) if n_rec is None else n_rec,
    )


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


# --- into local logging ------------------------------------------------------------------------


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


# --- life --------------------------------------------------------------------------------------


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


# --- the socket --------------------------------------------------------------------------------


def test_kernel_drops_are_counted(collected: Collector) -> None:
    """What found the kernel's queue full is counted in datagrams, and a warning says so."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, receive_buffer=4096)
    with connected(receiver.address) as plain:
        for number in range(500):
            plain.send(entry(str(number)))
    with receiver:
        wait_until(lambda: receiver.stats().delivered)
    stats = receiver.stats()
    assert stats.kernel_drops
    assert stats.delivered + stats.kernel_drops == 500
    assert stats.lost == 0
    assert any("dropped by the kernel" in message for message in collected.messages)


def test_drops_are_counted_without_meminfo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel lacks SO_MEMINFO, the counter that comes with datagrams is used."""
    monkeypatch.setattr("batchudp_handler.platform._SO_MEMINFO", 9999)
    own = ReceiveSocket("127.0.0.1", 0, receive_buffer=4096, buffer_size=1000)
    assert own.kernel_drops() == 0
    with connected(own.address) as plain:
        for _ in range(100):
            plain.send(b"x" * 500)
        read = len(own.receive(1000))
        plain.send(b"this one carries the counter")
        assert len(own.receive(10)) == 1
    assert own.kernel_drops() == 100 - read > 0
    own.close()
    assert own.kernel_drops() == 100 - read


def test_unreadable_drops_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells about drops, the count is None and not 0."""
    monkeypatch.setattr("batchudp_handler.platform._SO_MEMINFO", 9999)
    monkeypatch.setattr(receive_socket, "SO_RXQ_OVFL", 9998)
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        assert receiver.stats().kernel_drops is None


def test_longer_datagrams_are_counted_not_cut(collected: Collector) -> None:
    """A datagram of exactly `buffer_size` is read; one byte more is refused whole."""
    with (
        BatchUDPReceiver("127.0.0.1", 0, buffer_size=1000) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(entry("x" * (1000 - len(entry("")))))
        plain.send(entry("y" * (1001 - len(entry("")))))
        wait_until(lambda: receiver.stats().refused and collected.records)
    assert receiver.stats().refused == {"truncated_read": 1}
    assert receiver.stats().delivered == 1


def test_the_granted_buffer_is_shown() -> None:
    """The kernel's answer is reported, whatever was asked for."""
    with BatchUDPReceiver("127.0.0.1", 0, receive_buffer=100_000) as receiver:
        assert receiver.stats().receive_buffer >= 100_000


def test_a_socket_error_ends_nothing(collected: Collector) -> None:
    """The loop goes on after an error that the kernel reports on reading."""
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", 0))
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    own.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: errors of sends are read back
    address = gone.getsockname()
    gone.close()
    with BatchUDPReceiver("127.0.0.1", 0, inherited=own) as receiver:
        own.sendto(b"x", address)
        wait_until(lambda: "receiving failed 1 times, latest ECONNREFUSED" in collected.messages)
        with connected(receiver.address) as plain:
            plain.send(entry("after"))
            wait_until(lambda: "after" in collected.messages)


def test_a_mistake_of_ours_ends_nothing(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug behind the reader or the worker costs a datagram, is told, and the loops go on."""
    take = ReceiverProtocol.receive_datagram
    handled = ReceiverProtocol.on_batch_handled

    def fail_once(self: ReceiverProtocol, data: bytes, *rest: Any) -> None:
        if data == b"poison":
            raise ZeroDivisionError
        take(self, data, *rest)

    def fail_for_one(self: ReceiverProtocol, event: BatchReceived, *rest: Any) -> None:
        handled(self, event, *rest)
        if b"second" in event.body:
            raise KeyError

    monkeypatch.setattr(ReceiverProtocol, "receive_datagram", fail_once)
    monkeypatch.setattr(ReceiverProtocol, "on_batch_handled", fail_for_one)
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(b"poison")
        wait_until(lambda: receiver.stats().internal_errors == {"reader": 1})
        plain.send(entry("second"))
        plain.send(entry("third"))
        wait_until(lambda: "third" in collected.messages)
    assert receiver.stats().delivered == 2
    assert receiver.stats().internal_errors == {"reader": 1, "worker": 1}
    told = [text for text in collected.messages if "internal error" in text]
    words = "1 internal errors in the loop"
    assert [text.partition(",")[0] for text in told] == [f"{words} reader", f"{words} worker"]
    assert "ZeroDivisionError" in told[0]
    assert "KeyError" in told[1]


def test_ipv6(collected: Collector) -> None:
    """An IPv6 address listens, and is shown with brackets."""
    try:
        receiver = BatchUDPReceiver("[::1]:0")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with receiver, connected(receiver.address) as plain:
        plain.send(entry("six"))
        wait_until(lambda: collected.records)
    assert vars(collected.records[0])["remote_addr"].startswith("[::1]:")


def test_unix_socket(tmp_path: pathlib.Path, collected: Collector) -> None:
    """A unix datagram socket works as an address does, and its path goes with the receiver."""
    path = tmp_path / "log.sock"
    with (
        BatchUDPReceiver(f"unix://{path}", allow=("192.0.2.0/24",)) as receiver,
        connected(receiver.address) as plain,
    ):
        assert receiver.address == f"unix://{path}"
        plain.send(entry("local"))
        wait_until(lambda: collected.records)
    assert collected.messages == ["local"]
    assert not path.exists()


def test_unix_path_of_a_dead_receiver_is_taken_over(tmp_path: pathlib.Path) -> None:
    """A path that nobody listens on is replaced; a living one or a file is not."""
    path = tmp_path / "log.sock"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(path))
    dead.close()
    with (
        BatchUDPReceiver(f"unix://{path}"),
        pytest.raises(OSError, match="in use"),
    ):
        BatchUDPReceiver(f"unix://{path}")
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        BatchUDPReceiver(f"unix://{path}")
    assert path.read_text() == "precious"


def test_a_replaced_unix_path_is_left_alone(tmp_path: pathlib.Path) -> None:
    """At close a path is removed only if it still is the one that was made."""
    path = tmp_path / "log.sock"
    with BatchUDPReceiver(f"unix://{path}"):
        path.unlink()
        path.write_text("somebody else's")
    assert path.exists()


def test_allow_list(collected: Collector) -> None:
    """Who is not on the list is counted and not heard."""
    with (
        BatchUDPReceiver("127.0.0.1", 0, allow=("192.0.2.0/24",)) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(entry("stranger"))
        wait_until(lambda: receiver.stats().refused)
    assert receiver.stats().refused == {"not_allowed": 1}
    assert [record.name for record in collected.records] == ["batchudp.receiver"]


def test_keys(tmp_path: pathlib.Path, collected: Collector) -> None:
    """With a key file only what a key sealed is taken, and the record says so."""
    secret = bytes(range(32))
    path = tmp_path / "keys"
    path.write_text(f"# the only one\n7 hmac-sha256 {b64encode(secret).decode()}\n")
    path.chmod(0o600)
    payload = b'[{"message": "sealed"}]'
    sealed = encode_data(
        HmacKey(7, secret).sender,
        payload,
        acknowledged=False,
        codec=0,
        stream_id=5,
        seq=0,
        rec=0,
        sealed_at=int(time.time()),
        n_rec=1,
    )
    with (
        BatchUDPReceiver("127.0.0.1", 0, key_file=str(path)) as receiver,
        connected(receiver.address) as plain,
    ):
        plain.send(entry("plain"))
        plain.send(version_1("checksum"))
        plain.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        plain.send(sealed)
        wait_until(lambda: "sealed" in collected.messages)
    record = collected.records[collected.messages.index("sealed")]
    assert vars(record)["authenticated"] is True
    assert receiver.stats().refused == {"unauthenticated": 2, "auth_failed": 1}


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("1 hmac-sha256 " + b64encode(bytes(32)).decode(), 0o640, "chmod 600"),
        ("1 hmac-sha256 " + b64encode(bytes(31)).decode(), 0o600, "shorter than 32"),
        ("0 hmac-sha256 " + b64encode(bytes(32)).decode(), 0o600, "from 1 to 65535"),
        ("1 rot13 " + b64encode(bytes(32)).decode(), 0o600, "each line must be"),
        ("1 hmac-sha256 SECRET!", 0o600, "each line must be"),
        ("SECRET", 0o600, "each line must be"),
        ("SECRET\u00e9", 0o600, "each line must be"),
        ("# nothing\n", 0o600, "no key"),
    ],
    ids=["mode", "short", "number", "algorithm", "base64", "parts", "not-ascii", "empty"],
)
def test_bad_key_files(tmp_path: pathlib.Path, text: str, mode: int, words: str) -> None:
    """A key file that others may read, or that holds no good key, stops the start."""
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=words) as caught:
        BatchUDPReceiver("127.0.0.1", 0, key_file=str(path))
    assert "SECRET" not in str(caught.value)


def test_missing_key_file() -> None:
    """A key file that is not there is an error, not a receiver without keys."""
    with pytest.raises(ConfigError, match="cannot be read"):
        BatchUDPReceiver("127.0.0.1", 0, key_file="/nonexistent/keys")


# --- what the operator is told -----------------------------------------------------------------


def test_diagnostics_are_rate_limited(caplog: pytest.LogCaptureFixture) -> None:
    """A kind of message appears at once, then once per ten seconds with what came together."""
    now = [0.0]
    diagnostics = Diagnostics(lambda: now[0])
    for _ in range(5):
        diagnostics.on_event(RecordsLost(1, ("192.0.2.1", 5), 2))
        diagnostics.tell()
    diagnostics.on_event(SenderDropped(1, ("192.0.2.1", 5), 3))
    diagnostics.tell()
    now[0] = 10.0
    diagnostics.tell()
    diagnostics.tell()
    assert caplog.messages == [
        "2 records lost on the way, latest from 192.0.2.1:5",
        "3 records dropped by their senders, latest by 192.0.2.1:5",
        "8 records lost on the way, latest from 192.0.2.1:5",
    ]


def refused_by(caplog: pytest.LogCaptureFixture, *datagrams: bytes, **settings: Any) -> list[str]:
    """What a receiver says about datagrams that it refuses."""
    caplog.clear()
    with (
        BatchUDPReceiver("127.0.0.1", 0, **settings) as receiver,
        connected(receiver.address) as plain,
    ):
        for datagram in datagrams:
            plain.send(datagram)
        wait_until(lambda: receiver.stats().refused or receiver.stats().rejected)
        wait_until(lambda: caplog.messages)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    return caplog.messages


def test_refusals_are_said_with_reason_source_and_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The commonest mistakes: a key, an allow-list, a size, a port that is somebody else's."""
    key = HmacKey(7, bytes(32))
    (no_key,) = refused_by(caplog, entry("a"), keys=[key])
    assert no_key == (
        "refused 1 datagram from 127.0.0.1, unauthenticated: The datagram has no key, but "
        "the receiver requires one. Advice: give the sender a key file, or set "
        "accept_unauthenticated."
    )
    (stranger,) = refused_by(caplog, entry("a"), allow=("192.0.2.0/24",))
    assert stranger == (
        "refused 1 datagram from 127.0.0.1, not_allowed: The source address is not allowed to "
        "send, or not to this stream. Advice: add its network to allow."
    )
    (too_long,) = refused_by(caplog, bytes(600), buffer_size=512)
    assert "from 127.0.0.1, truncated_read: Longer than `buffer_size`." in too_long
    (garbage,) = refused_by(caplog, b"GET / HTTP/1.1")
    assert garbage.startswith("refused 1 datagram from 127.0.0.1, malformed: ")
    (no_json,) = refused_by(caplog, b'{"message": ')
    assert no_json.startswith("rejected 1 record from 127.0.0.1, json: ")


def test_refusals_do_not_flood(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand of them are two lines: the first, and all others in the end."""
    messages = refused_by(caplog, *[b"garbage"] * 1000)
    numbers = [int(message.split()[1]) for message in messages]
    assert len(numbers) <= 2
    assert sum(numbers) == 1000


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("\0a8be5e", "unix:@a8be5e"),
        ("/run/x.sock", "unix:/run/x.sock"),
        ("", "unix:(no name)"),
        ("\0a\nFAKE", "unix:@a\\nFAKE"),
        ("unix:///run/log.sock", "unix:///run/log.sock"),
        (("::1", 9, 0, 0), "[::1]:9"),
    ],
)
def test_addresses_are_readable(address: Address, text: str) -> None:
    """A sender on a unix socket has a name that can be read, and that fakes no line."""
    assert address_text(address) == text


def test_streams_are_summed_up_when_they_end(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each sender that leaves: a warning if anything is missing."""
    caplog.set_level(logging.INFO, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(version_1("a", rec=0, seq=0))
        plain.send(version_1("b", rec=3, seq=2))
        wait_until(lambda: receiver.stats().delivered == 2)
    (record,) = [each for each in caplog.records if "ended (shutdown)" in each.message]
    assert record.levelno == logging.WARNING
    assert "2 delivered, 2 lost, 0 rejected, 0 dropped by the sender" in record.message


def test_an_end_without_a_goodbye_is_not_called_whole(caplog: pytest.LogCaptureFixture) -> None:
    """A one-way sender that was killed may have sent more: the receiver says what it knows."""
    caplog.set_level(logging.DEBUG, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        plain.send(version_1("a", rec=0, seq=0))
        wait_until(lambda: receiver.stats().delivered == 1)
    (record,) = [each for each in caplog.records if "ended (shutdown)" in each.message]
    assert record.levelno == logging.INFO
    assert "1 delivered, 0 rejected, 0 dropped by the sender; its last records are not known" in (
        record.message
    )


def test_a_sender_that_left_with_nothing_lost_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Among the lines of a program it is said at DEBUG only."""
    caplog.set_level(logging.DEBUG, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver:
        sender = BatchUDPHandler(*receiver.address)
        sender.handle(logging.makeLogRecord({"msg": "m"}))
        sender.close()
        wait_until(lambda: receiver.stats().streams_ended)
    (record,) = [each for each in caplog.records if "ended (closed)" in each.message]
    assert record.levelno == logging.DEBUG
    assert "1 delivered, 0 lost" in record.message


def test_many_ending_streams_do_not_flood(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty summaries, then one line for all the others."""
    caplog.set_level(logging.DEBUG, "batchudp.receiver")
    with BatchUDPReceiver("127.0.0.1", 0) as receiver, connected(receiver.address) as plain:
        for stream in range(50):
            good = bytearray(version_1("a")[:-4])
            good[8:16] = struct.pack(">Q", stream + 1)
            plain.send(bytes(good) + struct.pack(">I", zlib.crc32(bytes(good))))
        wait_until(lambda: receiver.stats().delivered == 50)
    assert sum("ended (shutdown)" in message for message in caplog.messages) == 20
    assert "30 more streams ended" in caplog.messages


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
