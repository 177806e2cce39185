"""Asking a receiver for its counters holds up nobody, and the answer adds up at any moment."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchudp_handler.core.wire.datagram import CHECKSUM, encode_data
from batchudp_handler.receiver import BatchUDPReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.core.receive.stats import ReceiverStats

STREAMS = 10_000
LONGEST_PAUSE = 0.002


def datagram(stream_id: int, seq: int) -> bytes:
    """Two records of one stream, which nobody can decode."""
    return encode_data(
        CHECKSUM, b"x", acknowledged=False, codec=0, stream_id=stream_id, seq=seq, rec=2 * seq,
        sealed_at=int(time.time()), n_rec=2, frag_index=0, frag_count=1,
    )  # fmt: skip


def feed(receiver: BatchUDPReceiver, data: bytes) -> None:
    """As the reader does."""
    with receiver._lock:
        now, wall = time.monotonic(), time.time()
        receiver._protocol.receive_datagram(data, ("127.0.0.1", 9), now, wall)
        events = receiver._protocol.events_received()
    for event in events:
        if type(event).__name__ == "BatchReceived":
            receiver._on_handled(event, 1, {"malformed": 1})  # type: ignore[arg-type]  # asked for by name


@contextmanager
def aside(*functions: object) -> Iterator[None]:
    """Each of them called without a pause, on a thread of its own."""
    stop = threading.Event()

    def run(function: object) -> None:
        while not stop.is_set():
            function()  # type: ignore[operator]  # a function

    threads = [threading.Thread(target=run, args=(each,)) for each in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def identity(stats: ReceiverStats) -> None:
    for each in stats.streams.values():
        fate = each.delivered + sum(each.rejected.values()) + each.lost + each.missing
        assert each.next_rec - each.first_rec == fate + each.abandoned + each.pending
    for name in ("delivered", "lost", "missing", "pending"):
        assert getattr(stats, name) == sum(getattr(each, name) for each in stats.streams.values())


def test_ten_thousand_streams_do_not_hold_the_reader() -> None:
    """Who needs the protocol's lock while the counters are read waits for a few streams only."""
    receiver = BatchUDPReceiver("127.0.0.1", 0, max_streams=STREAMS)
    for stream_id in range(1, STREAMS + 1):
        feed(receiver, datagram(stream_id, 0))
    waits: list[float] = []

    def take_the_lock() -> None:
        began = time.monotonic()
        with receiver._lock:
            waits.append(time.monotonic() - began)
        time.sleep(0.0005)

    with receiver, aside(take_the_lock):
        for _ in range(3):
            assert len(receiver.stats().streams) == STREAMS
            assert receiver.progress() == (STREAMS, 0)
    waits.sort()
    assert waits[len(waits) * 9 // 10] < LONGEST_PAUSE


def test_the_counters_add_up_while_datagrams_come() -> None:
    """Several threads ask while streams begin, lose and finish records."""
    receiver = BatchUDPReceiver("127.0.0.1", 0)
    seen: list[ReceiverStats] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with receiver, aside(*[lambda: seen.append(receiver.stats())] * 3):
            for seq in range(300):
                feed(receiver, datagram(1 + seq % 40, 2 * (seq // 40)))
    finally:
        sys.setswitchinterval(interval)
    for stats in seen:
        identity(stats)
    assert receiver.stats().delivered == 300
