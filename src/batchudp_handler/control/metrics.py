"""What does Prometheus see of a receiver?

A page made from the table `ReceiverStats`: each counter by its own name, with the words of its
docstring. Single senders are not on it, because their numbers are new in every process and a
time series for each would never end; `batchudp-receive top` shows them.

Needs the extra `prometheus`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from batchudp_handler.core.stats import ReceiverStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    "streams_seen": "streams_seen",
    "streams_ended": "streams_ended",
}
"""What only grows; counters that are not here count records."""
LABELS = {"auth_failed": "key_id", "key_last_used": "key_id"}
"""The name of a mapping's keys; others are reasons."""
LEFT_OUT = {"streams"}


class MetricsServer:
    """The page at `/metrics`, served by threads of the library.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        stats: Callable[[], ReceiverStats],
        is_healthy: Callable[[], bool],
    ) -> None:
        self._stats = stats
        self._is_healthy = is_healthy
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        self._server, self._thread = start_http_server(port, host, registry)
        self.port: int = self._server.server_address[1]

    def collect(self) -> Iterator[Metric]:
        """Called by the library for each page."""
        yield from page_metrics(self._stats())
        healthy = GaugeMetricFamily(PREFIX + "healthy", "1: the receiver does its work; 0: not.")
        healthy.add_metric((), float(self._is_healthy()))
        yield healthy

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def page_metrics(stats: ReceiverStats) -> Iterator[Metric]:
    """One metric for each field of the table."""
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
    """What stands below each field in the source; nothing where the source is not there."""
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
