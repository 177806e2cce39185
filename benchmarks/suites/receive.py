"""The cost of one record on the receiving side.

Datagrams as a handler sent them are kept, then opened, decoded and handed to local logging, which
ends in a `NullHandler`; beside it, the pickles of a `SocketHandler` and what the receiver of the
logging cookbook does with each. No socket is read while the clock runs: processor time per record.
"""

from __future__ import annotations

import logging
import logging.handlers
import time
from typing import TYPE_CHECKING

from lab import in_child, interleaved, medians
from receivers import handle_pickle
from sink import udp_socket
from work import KINDS

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.records.rebuild import records
from batchudp_handler.core.wire.datagram import CHECKSUM, Baseline, DatagramType, parse
from batchudp_handler.receiver.reemit import Reemitter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab import Plan, Row

WORKS = ("template", "extras", "exception")
KINDS_OF_RECEIVER = {
    "cookbook socket receiver": None,
    "batchudp 1,472 B": 1_472,
    "batchudp 65,507 B": 65_507,
}
PROVENANCE = {"remote_addr": "127.0.0.1:9", "received": 0.0, "authenticated": False}
REPEATS = 3


def measure(receiver: str, work: str, count: int) -> dict[str, float]:
    """Processor time per record, in microseconds; the best of a few repetitions."""
    logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])
    size = KINDS_OF_RECEIVER[receiver]
    do = cookbook(work, count) if size is None else ours(work, count, size)
    best = float("inf")
    for _ in range(REPEATS):
        before = time.process_time()
        do()
        best = min(best, time.process_time() - before)
    return {"cpu": 1e6 * best / count}


def cookbook(work: str, count: int) -> Callable[[], None]:
    """Unpickle each record, and hand it over."""
    pickles: list[bytes] = []
    handler = logging.handlers.SocketHandler("127.0.0.1", 9)
    handler.send = pickles.append  # type: ignore[assignment]  # keep what would be sent
    _log_into(handler, work, count)
    bodies = [data[4:] for data in pickles]

    def do() -> None:
        for body in bodies:
            handle_pickle(body)

    return do


def ours(work: str, count: int, size: int) -> Callable[[], None]:
    """Open, decode, make records, hand them over."""
    datagrams = captured(work, count, size)
    limits, reemitter = DecodeLimits(), Reemitter()

    def do() -> None:
        receive(datagrams, limits, reemitter)

    return do


def receive(datagrams: Sequence[bytes], limits: DecodeLimits, reemitter: Reemitter) -> int:
    """What the receiver does with datagrams that are in order; returns the number of records."""
    total = 0
    for datagram in datagrams:
        frame = parse(datagram)
        assert not isinstance(frame, Baseline)
        batch = decode_payload(frame.codec, CHECKSUM.open(datagram), limits)
        reemitter.deliver(records(batch, PROVENANCE))
        total += len(batch)
    return total


def captured(work: str, count: int, size: int) -> list[bytes]:
    """The datagrams with records that a handler sends for this work."""
    with udp_socket() as udp:
        port = udp.getsockname()[1]
        handler = BatchUDPHandler(
            "127.0.0.1",
            port,
            batch_size=500,
            capacity=count,
            max_datagram_size=size,
            shutdown_timeout=60.0,
        )
        _log_into(handler, work, count)
        return [data for data in _waiting(udp) if _has_records(data)]


def _waiting(udp: object) -> list[bytes]:
    found = []
    try:
        while True:
            found.append(udp.recv(65_535))  # type: ignore[attr-defined]  # a socket
    except BlockingIOError:
        return found


def _has_records(data: bytes) -> bool:
    frame = parse(data)
    return not isinstance(frame, Baseline) and frame.type == DatagramType.DATA


def _log_into(handler: logging.Handler, work: str, count: int) -> None:
    log = logging.getLogger("benchmark")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    KINDS[work](log, count)
    handler.close()
    log.removeHandler(handler)
    log.propagate = True


def run(plan: Plan) -> list[Row]:
    """Each receiver with each kind of work."""
    count = plan.records_of(10_000, 40_000)
    cases = [(work, receiver) for work in WORKS for receiver in KINDS_OF_RECEIVER]

    def one(case: tuple[str, str]) -> Mapping[str, float]:
        found: dict[str, float] = in_child(measure, work=case[0], receiver=case[1], count=count)
        return found

    seen = interleaved(plan.rounds_of(2, 7), cases, one)
    rows: list[Row] = []
    for (work, receiver), figures in seen.items():
        cpu = medians(figures)["cpu"]
        beside = medians(seen[work, "cookbook socket receiver"])["cpu"]
        times = round(beside / cpu, 2)
        rows.append({"work": work, "receiver": receiver, "cpu": round(cpu, 2), "faster": times})
    return rows
