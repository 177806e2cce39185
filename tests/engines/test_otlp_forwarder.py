"""Batches go to a collector: retried as the specification says, and answered for once."""

from __future__ import annotations

import contextlib
import email.utils
import json
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.engines.otlp_forwarder import OtlpForwarder
from batchudp_handler.engines.otlp_target import OtlpTarget
from batchudp_handler.receiver.diagnostics import Diagnostics
from tests.engines.collector import Collector, Reply
from tests.support import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DEADLINE = 30.0


class Edge:
    """A forwarder and what it has answered for."""

    def __init__(self, url: str) -> None:
        self.delivered: Counter[int] = Counter()
        self.rejected: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.forwarder = OtlpForwarder(
            OtlpTarget.from_url(url),
            limits=DecodeLimits(),
            diagnostics=Diagnostics(time.monotonic),
            on_handled=self._on_handled,
            kernel_drops=lambda: 0,
        )
        self.forwarder.start()

    def put(self, *batches: BatchReceived) -> None:
        self.forwarder.put(batches)

    def finish(self) -> bool:
        return self.forwarder.finish(DEADLINE)

    def _on_handled(self, batch: BatchReceived, delivered: int, why: Mapping[str, int]) -> None:
        self.answers[batch.seq] += 1
        self.delivered[batch.seq] += delivered
        self.rejected.update(why)


@pytest.fixture
def collector_of() -> Iterator[Callable[..., Collector]]:
    """Make collectors that end with the test."""
    made: list[Collector] = []

    def make(reply: Callable[[int, list[str]], Reply] = lambda _n, _texts: Reply()) -> Collector:
        made.append(Collector(reply))
        return made[-1]

    yield make
    for collector in made:
        collector.close()


def batch(seq: int, *texts: str) -> BatchReceived:
    """One batch of a stream."""
    rows = [{"message": text} for text in texts or (f"record {seq}",)]
    return BatchReceived(1, seq, len(rows), 0, json.dumps(rows).encode(), ("::1", 5), 0, 1.0)


def failing(times: int, reply: Reply) -> Callable[[int, list[str]], Reply]:
    """Give that reply first, then take everything."""
    return lambda number, _texts: reply if number < times else Reply()


def test_batches_are_exported_and_answered_for(collector_of: Callable[..., Collector]) -> None:
    """Many batches share a request; each is answered for once, with its records."""
    collector = collector_of()
    edge = Edge(collector.url)
    edge.put(*[batch(seq, "a", "b") for seq in range(500)])
    assert edge.finish()
    assert len(collector.stored) == len({uid for uid, _ in collector.stored}) == 1_000
    assert edge.answers == Counter(range(500))
    assert set(edge.delivered.values()) == {2}
    assert len(collector.requests) < 20
    assert edge.forwarder.exported == 1_000
    assert edge.forwarder.retries == edge.forwarder.possibly_repeated == 0
    assert set(collector.paths) == {"/v1/logs"}
    headers = collector.requests[0]
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Encoding"] == "gzip"


def test_headers_and_no_compression(collector_of: Callable[..., Collector]) -> None:
    """What the URL asks for is sent."""
    collector = collector_of()
    where = collector.url.replace("//", "//me:secret@") + "/x?compression=none&header=X-Tenant:a"
    edge = Edge(where)
    edge.put(batch(1))
    assert edge.finish()
    assert collector.texts == ["record 1"]
    headers = collector.requests[0]
    assert headers["X-Tenant"] == "a"
    assert headers["Authorization"] == "Basic bWU6c2VjcmV0"
    assert "Content-Encoding" not in headers
    assert collector.paths == ["/x"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_collector_is_asked_again(
    status: int, collector_of: Callable[..., Collector]
) -> None:
    """The statuses that the specification names are tried again, and repeat nothing."""
    collector = collector_of(failing(2, Reply(status)))
    edge = Edge(collector.url)
    edge.put(batch(1))
    assert edge.finish()
    assert collector.texts == ["record 1"]
    assert edge.delivered == {1: 1}
    assert (edge.forwarder.retries, edge.forwarder.possibly_repeated) == (2, 0)


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_retry_after_is_respected(kind: str, collector_of: Callable[..., Collector]) -> None:
    """A collector that says when to come again is left alone until then."""
    came: list[float] = []

    def reply(number: int, _texts: list[str]) -> Reply:
        came.append(time.monotonic())
        date = email.utils.formatdate(time.time() + 2, usegmt=True)
        return (
            Reply(503, headers={"Retry-After": "1" if kind == "seconds" else date})
            if (number == 0)
            else Reply()
        )

    edge = Edge(collector_of(reply).url)
    edge.put(batch(1))
    assert edge.finish()
    assert 0.9 < came[1] - came[0] < 10


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500, 501])
def test_a_final_error_rejects_what_it_concerns(
    status: int, collector_of: Callable[..., Collector]
) -> None:
    """Other errors are final; batches that shared the request are sent alone, and arrive."""

    def reply(_number: int, texts: list[str]) -> Reply:
        return Reply(status) if "bad" in texts else Reply()

    collector = collector_of(reply)
    edge = Edge(collector.url)
    edge.put(batch(1), batch(2, "bad", "bad"), batch(3))
    assert edge.finish()
    assert collector.texts == ["record 1", "record 3"]
    assert edge.delivered == {1: 1, 2: 0, 3: 1}
    assert edge.rejected == {"engine_refused": 2}
    assert edge.answers == {1: 1, 2: 1, 3: 1}


def test_a_partial_success_is_final(collector_of: Callable[..., Collector]) -> None:
    """Records that the collector refused of a request are rejected, and none is sent again."""
    body = '{"partialSuccess": {"rejectedLogRecords": "3", "errorMessage": "too old"}}'
    collector = collector_of(lambda _number, _texts: Reply(200, body))
    edge = Edge(collector.url)
    edge.put(batch(1, "a", "b"), batch(2, "c", "d"))
    assert edge.finish()
    assert len(collector.requests) == 1
    assert edge.rejected == {"engine_refused": 3}
    assert sum(edge.delivered.values()) == edge.forwarder.exported == 1


@pytest.mark.parametrize(
    "body",
    [
        *("", "no JSON", "[]", "5", '{"partialSuccess": 5}', '{"partialSuccess": null}'),
        *('{"partialSuccess": {"rejectedLogRecords": "x"}}', "[" * 50_000),
    ],
)
def test_an_odd_answer_is_a_success(body: str, collector_of: Callable[..., Collector]) -> None:
    """Status 200 means taken, whatever stands below it."""
    collector = collector_of(lambda _number, _texts: Reply(200, body))
    edge = Edge(collector.url)
    edge.put(batch(1))
    assert edge.finish()
    assert edge.delivered == {1: 1}
    assert not edge.rejected


def test_a_lost_answer_is_counted(collector_of: Callable[..., Collector]) -> None:
    """What was taken without an answer comes twice, with the same uid, and is counted."""
    collector = collector_of(failing(1, Reply(hangs_up=True)))
    edge = Edge(collector.url)
    edge.put(batch(1, "a", "b"))
    assert edge.finish()
    assert Counter(collector.texts) == {"a": 2, "b": 2}
    assert len({uid for uid, _ in collector.stored}) == 2
    assert edge.forwarder.possibly_repeated == 2
    assert edge.delivered == {1: 2}


def test_batches_that_cannot_be_read_cost_no_others(
    collector_of: Callable[..., Collector],
) -> None:
    """Each is rejected by its reason, as by local logging; bad records likewise."""
    collector = collector_of()
    edge = Edge(collector.url)
    bad = BatchReceived(1, 2, 4, 0, b"{", "x", 0, 1.0)
    partly = BatchReceived(1, 3, 2, 0, b'[{"message":"good"},{"no":"message"}]', "x", 0, 1.0)
    too_many = BatchReceived(1, 4, 1, 0, b'[{"message":"1"},{"message":"2"}]', "x", 0, 1.0)
    edge.put(batch(1), bad, partly, too_many, batch(5))
    assert edge.finish()
    assert collector.texts == ["record 1", "good", "record 5"]
    assert edge.rejected == {"json": 4, "bad_record": 1, "record_count": 1}
    assert edge.answers == Counter(range(1, 6))


def test_nothing_is_confirmed_while_nobody_answers() -> None:
    """Without a collector nothing is confirmed, others still hear of the thread, and it ends."""
    edge = Edge(f"otlp+http://127.0.0.1:{free_port()}")
    called = threading.Event()
    edge.put(batch(1))
    wait_until(lambda: edge.forwarder.retries > 1, "attempts")
    assert not edge.forwarder.is_healthy
    edge.forwarder.put([called.set])
    assert called.wait(DEADLINE)
    edge.put(batch(2))
    began = time.monotonic()
    assert not edge.forwarder.finish(0.3)
    assert time.monotonic() - began < 5
    assert not edge.answers


def test_a_collector_that_comes_back_gets_everything(
    collector_of: Callable[..., Collector],
) -> None:
    """Batches wait for a collector that starts late."""
    port = free_port()
    edge = Edge(f"otlp+http://127.0.0.1:{port}")
    edge.put(*[batch(seq) for seq in range(50)])
    wait_until(lambda: edge.forwarder.retries > 0, "an attempt")
    collector = collector_of()
    edge.forwarder._client._target = OtlpTarget.from_url(collector.url)
    assert edge.finish()
    assert collector.texts == [f"record {seq}" for seq in range(50)]
    assert edge.forwarder.is_healthy


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", bytes(100)])
def test_what_is_no_collector_confirms_nothing(garbage: bytes) -> None:
    """Another program on the port is a collector that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        edge = Edge(f"otlp+http://127.0.0.1:{server.getsockname()[1]}?timeout=0.5")
        edge.put(batch(1))
        is_over = threading.Event()

        def answer() -> None:
            while not is_over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(garbage)

        thread = threading.Thread(target=answer)
        thread.start()
        wait_until(lambda: edge.forwarder.retries > 1, "attempts")
        assert not edge.forwarder.finish(0.1)
        is_over.set()
        thread.join()
    assert not edge.answers
    assert edge.forwarder.possibly_repeated > 0


def test_an_edge_that_has_given_up_answers_nothing(
    collector_of: Callable[..., Collector],
) -> None:
    """An answer that comes after the end confirms nothing: the receiver's counts are final."""
    came, go_on = threading.Event(), threading.Event()

    def reply(_number: int, _texts: list[str]) -> Reply:
        came.set()
        go_on.wait(DEADLINE)
        return Reply()

    edge = Edge(collector_of(reply).url)
    edge.put(batch(1))
    assert came.wait(DEADLINE)
    assert not edge.forwarder.finish(0.05)
    go_on.set()
    edge.forwarder._thread.join(DEADLINE)
    assert not edge.forwarder._thread.is_alive()
    assert not edge.answers
