"""Batches go through real JetStream servers: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.engines.message import MESSAGE_ID, message_from_batch
from batchudp_handler.engines.nats_forwarder import NatsForwarder
from batchudp_handler.engines.nats_source import NatsSource
from batchudp_handler.engines.nats_target import RETRY_HORIZON, NatsTarget
from batchudp_handler.receiver.diagnostics import Diagnostics
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.engines.conftest import NatsServer
    from tests.table import Table

DEADLINE = 60.0


def a_batch(seq: int, *, stream: int | None = 1) -> BatchReceived:
    """One batch with one record in it."""
    body = b'[{"message":"record %d"}]' % seq
    return BatchReceived(
        stream_id=stream, seq=seq, n_rec=1, codec=0, body=body, address="edge", key_id=0, wall=1.0
    )


class Edge:
    """A forwarder and what it has answered for."""

    def __init__(self, target: NatsTarget) -> None:
        self.confirmed: Counter[int] = Counter()
        self.rejected: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.forwarder = NatsForwarder(
            target,
            limits=DecodeLimits(),
            diagnostics=Diagnostics(time.monotonic),
            on_handled=self._on_handled,
            kernel_drops=lambda: 0,
            create_stream=True,
        )
        self.forwarder.start()

    def _on_handled(self, batch: BatchReceived, delivered: int, why: Mapping[str, int]) -> None:
        with self._lock:
            self.confirmed[batch.seq] += delivered
            self.rejected.update(why)


class Consumer:
    """A source whose worker keeps what it got and confirms it."""

    def __init__(self, target: NatsTarget) -> None:
        self.got: list[tuple[int | None, int]] = []
        self.source = NatsSource(target, self._deliver)
        self.source.start()

    def _deliver(self, batches: Sequence[BatchReceived]) -> None:
        for batch in batches:
            self.got.append((batch.stream_id, batch.seq))
            self.source.on_handled(batch, batch.n_rec, {})


def test_every_batch_comes_out_once(nats_server: NatsServer, table: Table) -> None:
    """What two edges forward, one of them in reverse, comes out once each."""
    began = time.monotonic()
    target = NatsTarget.from_url(nats_server.url)
    edges = [Edge(target), Edge(target)]
    batches = [a_batch(seq) for seq in range(500)]
    edges[0].forwarder.put(batches)
    edges[1].forwarder.put(batches[::-1])
    wait_until(lambda: all(len(edge.confirmed) == 500 for edge in edges))

    consumer = Consumer(target)
    wait_until(lambda: len(consumer.got) >= 500)
    assert consumer.source.stop(DEADLINE)

    case = "NATS: two edges publish the same batches"
    table.add(case, [(1, batch.seq) for batch in batches], consumer.got, began)
    assert sorted(consumer.got) == [(1, seq) for seq in range(500)]
    assert sum(edge.forwarder.duplicates for edge in edges) == 500
    assert consumer.source.delivered == 500
    assert all(edge.forwarder.finish(DEADLINE) for edge in edges)


def test_baseline_batches_are_never_taken_for_copies(nats_server: NatsServer) -> None:
    """Two equal datagrams without a stream are two batches, with their records counted."""
    target = NatsTarget.from_url(nats_server.url)
    edge = Edge(target)
    batch = BatchReceived(None, 0, 0, 0, b'[{"message":"a"},{"message":"b"}]', "x", 0, 1.0)
    edge.forwarder.put([batch, batch])

    wait_until(lambda: edge.confirmed[0] == 4)
    assert edge.forwarder.duplicates == 0
    assert edge.forwarder.finish(DEADLINE)


def test_nothing_is_confirmed_while_the_engine_is_away(nats_server: NatsServer) -> None:
    """A killed engine: the edge says it is not healthy, confirms nothing, and goes on later."""
    target = NatsTarget.from_url(nats_server.url)
    edge = Edge(target)
    edge.forwarder.put([a_batch(0)])
    wait_until(lambda: edge.confirmed[0] == 1)

    nats_server.kill()
    edge.forwarder.put([a_batch(seq) for seq in range(1, 50)])
    wait_until(lambda: not edge.forwarder.is_healthy)
    assert len(edge.confirmed) == 1

    nats_server.start()
    wait_until(lambda: len(edge.confirmed) == 50)
    assert edge.forwarder.is_healthy
    assert set(edge.confirmed.values()) == {1}
    assert edge.forwarder.finish(DEADLINE)


def test_edge_starts_before_the_engine(nats_server: NatsServer) -> None:
    """An edge that comes up first waits for its engine."""
    nats_server.kill()
    edge = Edge(NatsTarget.from_url(nats_server.url))
    edge.forwarder.put([a_batch(0)])
    nats_server.start()

    wait_until(lambda: edge.confirmed[0] == 1)
    assert edge.forwarder.finish(DEADLINE)


def test_finish_is_bounded_without_an_engine(nats_server: NatsServer) -> None:
    """An edge whose engine is gone ends in time and leaves its batches unconfirmed."""
    edge = Edge(NatsTarget.from_url(nats_server.url))
    wait_until(lambda: edge.forwarder.is_healthy)
    nats_server.kill()
    edge.forwarder.put([a_batch(0)])
    start = time.monotonic()

    assert not edge.forwarder.finish(0.3)
    assert time.monotonic() - start < 3.0
    assert not edge.confirmed


def test_batch_too_large_for_the_engine_is_rejected(nats_server: NatsServer) -> None:
    """A batch that the engine will never take is answered for, by cause."""
    edge = Edge(NatsTarget.from_url(nats_server.url))
    batch = BatchReceived(1, 0, 5, 0, b" " * 1_100_000, "x", 0, 1.0)
    edge.forwarder.put([batch])

    wait_until(lambda: edge.rejected["engine_refused"] == 5)
    assert edge.forwarder.finish(DEADLINE)


def test_a_consumer_that_ends_leaves_its_batches_to_the_next(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches whose handlers have not returned go to another consumer of the same name."""
    monkeypatch.setattr("batchudp_handler.engines.nats_source.ACK_WAIT", 1.5)
    target = NatsTarget.from_url(nats_server.url)
    edge = Edge(target)
    edge.forwarder.put([a_batch(seq) for seq in range(100)])
    wait_until(lambda: len(edge.confirmed) == 100)

    taken: list[BatchReceived] = []
    stuck = NatsSource(target, taken.extend)
    stuck.start()
    wait_until(lambda: bool(taken))
    for batch in taken[:10]:
        stuck.on_handled(batch, 1, {})
    wait_until(lambda: len(taken) == 100)
    wait_until(lambda: _unconfirmed(stuck) == 90)
    stuck._runner.call(lambda: [task.cancel() for task in _tasks(stuck)])  # no farewell
    stuck._runner.thread.join(DEADLINE)

    consumer = Consumer(target)
    handled = {(1, batch.seq) for batch in taken[:10]}
    wait_until(lambda: handled | set(consumer.got) == {(1, seq) for seq in range(100)})
    assert consumer.source.stop(DEADLINE)
    assert not handled & set(consumer.got)
    assert consumer.source.redelivered == 90
    assert consumer.source.possibly_duplicate == 90
    assert edge.forwarder.finish(DEADLINE)


def test_what_an_engine_keeps_twice_is_counted_and_left_out(nats_server: NatsServer) -> None:
    """An engine that died may have forgotten which ids it has; the consumer has not."""
    target = NatsTarget.from_url(nats_server.url)
    edge, consumer = Edge(target), Consumer(target)
    edge.forwarder.put([a_batch(1)])
    wait_until(lambda: len(consumer.got) == 1)
    headers, body = message_from_batch(a_batch(1), records=1, address="x")
    headers.pop(MESSAGE_ID)  # as if the engine had forgotten it
    publish = edge.forwarder._connection.stream.publish(target.subject, body, headers=headers)
    asyncio.run_coroutine_threadsafe(publish, edge.forwarder._runner.loop).result(DEADLINE)
    edge.forwarder.put([a_batch(2)])
    wait_until(lambda: len(consumer.got) == 2)
    assert consumer.source.stop(DEADLINE)
    assert consumer.got == [(1, 1), (1, 2)]
    assert (consumer.source.delivered, consumer.source.duplicates) == (2, 1)
    assert edge.forwarder.finish(DEADLINE)


def _unconfirmed(source: NatsSource) -> int:
    """Messages that the engine still waits for."""
    target, stream = source._connection.target, source._connection.stream
    question = stream.consumer_info(target.stream, target.durable)
    future = asyncio.run_coroutine_threadsafe(question, source._runner.loop)
    return int(future.result(DEADLINE).num_ack_pending)


def _tasks(source: NatsSource) -> Any:
    return asyncio.all_tasks(source._runner.loop)


@pytest.mark.timeout(400)
def test_cluster_survives_its_leader(nats_cluster: list[NatsServer], table: Table) -> None:
    """Three nodes, three replicas, the leader killed at a third: 20,000 batches, each once."""
    began = time.monotonic()
    total, senders = 20_000, 8
    urls = ",".join(server.url.removeprefix("nats://") for server in nats_cluster)
    target = NatsTarget.from_url(f"nats://{urls}/FLEET?replicas=3&subject=fleet.batches")
    edges = [Edge(target), Edge(target)]
    wait_until(lambda: all(edge.forwarder.is_healthy for edge in edges))
    batches = [
        a_batch(seq, stream=stream + 1)
        for seq in range(total // senders)
        for stream in range(senders)
    ]
    third = total // 3
    _put_in_turn(edges, batches[:third])
    leaders: list[NatsServer] = []

    def has_leader() -> bool:  # its page may be slow to answer
        leaders.extend(server for server in nats_cluster if server.is_leader_of("FLEET"))
        return bool(leaders)

    wait_until(has_leader)
    leaders[0].kill()
    _put_in_turn(edges, batches[third:])
    wait_until(lambda: sum(edge.confirmed.total() for edge in edges) == total, seconds=120)

    consumer = Consumer(target)
    wait_until(lambda: len(consumer.got) >= total, seconds=120)
    assert consumer.source.stop(DEADLINE)

    expected = Counter((batch.stream_id, batch.seq) for batch in batches)
    table.add("NATS: three nodes, the leader killed", expected, consumer.got, began)
    assert Counter(consumer.got) - expected == Counter()
    assert expected - Counter(consumer.got) == Counter()
    print(
        f"cluster: {total} batches, {sum(edge.forwarder.retries for edge in edges)} retries,"
        f" {sum(edge.forwarder.duplicates for edge in edges)} copies refused by the engine"
    )
    assert all(edge.forwarder.finish(DEADLINE) for edge in edges)


def _put_in_turn(edges: list[Edge], batches: list[BatchReceived]) -> None:
    for index, edge in enumerate(edges):
        edge.forwarder.put(batches[index :: len(edges)])


def test_window_of_a_new_stream_covers_the_retries(nats_server: NatsServer) -> None:
    """A stream made on request remembers ids for as long as a sender may repeat them."""
    edge = Edge(NatsTarget.from_url(nats_server.url))

    wait_until(lambda: edge.forwarder.duplicate_window is not None)
    assert edge.forwarder.duplicate_window == RETRY_HORIZON
    assert edge.forwarder.finish(DEADLINE)


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "nats://",
        "nats://h/a.b",
        "nats://h/A/B",
        "nats://h?replicas=x",
        "nats://h?colour=red",
    ],
)
def test_bad_url_is_refused(url: str) -> None:
    """An engine's URL that is not one is a setting with a wrong value."""
    with pytest.raises(ValueError, match=r"nats://|stream|URL|numbers"):
        NatsTarget.from_url(url)


def test_url_names_several_servers() -> None:
    """Credentials and servers reach the client, one URL each."""
    target = NatsTarget.from_url("nats://u:p@a:1,b:2/LOGS?durable=d")

    assert target.servers == ("nats://u:p@a:1", "nats://u:p@b:2")
    assert (target.stream, target.durable) == ("LOGS", "d")
