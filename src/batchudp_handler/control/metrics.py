"""The page of a receiver's counters for Prometheus.

A page made from the table `ReceiverStats`: each counter by its own name, with the words of its
docstring. Single senders are not on it, because their numbers are new in every process and a
time series for each would never end; `batchudp-receive top` shows them.

Needs the extra `prometheus`.
"""

from __future__ import annotations

import ast
import inspect
import socket
import textwrap
from dataclasses import fields
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from batchudp_handler.control.request_server import BACKLOG, RequestServer
from batchudp_handler.core.receive.stats import ReceiverStats
from batchudp_handler.receiver.guard import Guard, Loop, Seam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.control.request_server import Client

__all__ = ["MetricsServer", "page_metrics"]

PREFIX = "batchudp_receiver_"

GAUGES = {
    "lost": "lost_records",  # what comes late is lost no more
    "unseen_before_start": "unseen_before_start_records",
    "missing": "missing_records",
    "pending": "pending_records",
    "streams_live": "streams_live",
    "queued_bytes": "queued_bytes",
    "reassembly_bytes": "reassembly_bytes",
    "uptime": "uptime_seconds",
    "output_blocked": "output_blocked_seconds",
    "receive_buffer": "receive_buffer_bytes",
    "key_last_used": "key_last_used_timestamp_seconds",
}
"""What goes up and down, and the names that Prometheus's conventions want."""
COUNTERS = {
    "bytes_received": "received_bytes",
    "reply_bytes": "reply_bytes",
    "datagrams_received": "received_datagrams",
    "duplicates": "duplicate_records",
    "duplicate_datagrams": "duplicate_datagrams",
    "kernel_drops": "kernel_dropped_datagrams",
    "refused": "refused_datagrams",
    "auth_failed": "auth_failed_datagrams",
    "replies": "replies",
    "challenges": "challenges",
    "handler_errors": "handler_errors",
    "callback_errors": "callback_errors",
    "internal_errors": "internal_errors",
    "clients_refused": "refused_clients",
    "output_errors": "output_errors",
    "streams_seen": "streams_seen",
    "streams_ended": "streams_ended",
}
"""What only grows; counters that are not here count records."""
LABELS = {
    "auth_failed": "key_id",
    "key_last_used": "key_id",
    "callback_errors": "place",
    "internal_errors": "loop",
}
"""The name of a mapping's keys; others are reasons."""
LEFT_OUT = {"streams"}


class MetricsServer:
    """The page at `/metrics`, served by one thread.

    Args:
        host: Where it is served.
        port: 0: any free one.
        stats: The counters.
        is_healthy: Whether the receiver does its work.
        guard: Where errors, and clients that are sent away, are counted.

    Raises:
        OSError: The address cannot be bound.
    """

    name = "metrics"

    def __init__(
        self,
        host: str,
        port: int,
        stats: Callable[[], ReceiverStats],
        is_healthy: Callable[[], bool],
        *,
        guard: Guard | None = None,
    ) -> None:
        self.full = _response(503, b"too many clients\n")
        self.late = _response(408, b"no request came in time\n")
        self._stats = stats
        self._is_healthy = is_healthy
        self._guard = Guard() if guard is None else guard
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        listener = _listen(host, port)
        self.port: int = listener.getsockname()[1]
        self._requests = RequestServer(listener, self, loop=Loop.METRICS, guard=self._guard)

    def start(self) -> None:
        """Serve from now on."""
        self._requests.start()

    def close(self) -> None:
        """Serve no more."""
        self._requests.close()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of a page; the library calls it."""
        yield from page_metrics(self._stats())
        healthy = GaugeMetricFamily(PREFIX + "healthy", "1: the receiver does its work; 0: not.")
        healthy.add_metric((), float(self._is_healthy()))
        yield healthy

    # --- the service -----------------------------------------------------------------------------

    def is_whole(self, request: bytes) -> bool:
        """Return whether the empty line has come that ends a request; no body is expected."""
        return b"\r\n\r\n" in request or b"\n\n" in request

    def answer(self, client: Client, request: bytes) -> None:
        """Answer with the page, or with why there is none."""
        client.waiting += self._guard.run(
            Seam.METRICS, self._answer, request, default=_response(500, b"see the receiver\n")
        )

    def take_turn(self) -> None:
        """Do nothing: there are only requests."""

    def on_left(self, client: Client) -> None:
        """Do nothing: no client stays."""

    def _answer(self, request: bytes) -> bytes:
        first, _, rest = request.decode("latin-1").partition("\n")
        words = first.split()
        if not self.is_whole(request) or len(words) != 3 or not words[2].startswith("HTTP/"):
            return _response(400, b"this is no request, or one that is too long\n")
        method, target, _ = words
        if method not in {"GET", "HEAD"}:
            return _response(405, b"GET is all that is understood here\n", Allow="GET, HEAD")
        if target.partition("?")[0] not in {"/", "/metrics"}:
            return _response(404, b"the page is /metrics\n")
        encode, kind = choose_encoder(_accepted(rest))
        return _response(200, encode(self._registry), kind, with_body=method == "GET")


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


def _accepted(headers: str) -> str:
    """Return what the client says that it understands."""
    found = [line.partition(":")[2] for line in headers.splitlines() if _is_accept(line)]
    return ",".join(found).strip()


def _is_accept(line: str) -> bool:
    return line.partition(":")[0].strip().lower() == "accept"


def _response(
    status: int,
    body: bytes,
    kind: str = "text/plain; charset=utf-8",
    *,
    with_body: bool = True,
    **headers: str,
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")


def page_metrics(stats: ReceiverStats) -> Iterator[Metric]:
    """Yield one metric for each field of the table."""
    words = _docstrings(ReceiverStats)
    for item in fields(stats):
        value = getattr(stats, item.name)
        if item.name not in LEFT_OUT and value is not None:
            yield _metric(item.name, value, words.get(item.name) or item.name)


def _metric(name: str, value: Any, words: str) -> Metric:
    is_mapping = hasattr(value, "items")
    labels = [LABELS.get(name, "reason")] if is_mapping else []
    kind: Any = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
    shown = GAUGES.get(name) or COUNTERS.get(name, f"{name}_records")
    metric: Any = kind(PREFIX + shown, words, labels=labels)
    for label, number in value.items() if is_mapping else [("", value)]:
        metric.add_metric([str(label)] if is_mapping else [], float(number))
    assert isinstance(metric, Metric)
    return metric


def _docstrings(table: type) -> dict[str, str]:
    """Return what stands below each field in the source; nothing where the source is not there."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(table)))
    except (OSError, SyntaxError):
        return {}
    body = tree.body[0].body  # type: ignore[attr-defined]  # a class
    found = {}
    for statement, after in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            found[ast.unparse(statement.target)] = " ".join(ast.literal_eval(after.value).split())
    return found
