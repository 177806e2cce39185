"""Which handlers are compared, and how is each set up?

Each peer is a function that makes a handler for a target and gives back what to attach to the
logger and what to call at the end, so that nothing is still waiting when the last time is taken. A
peer whose library is missing raises ImportError and is left out. Every peer gets room for all
records of a run: dropping would be cheap and is not what is compared.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send to, and how many records will come."""

    udp_port: int
    tcp_port: int
    records: int


@dataclass(frozen=True, slots=True)
class Attached:
    """A handler at work, and how to finish with it."""

    handler: logging.Handler
    finish: Callable[[], None]


def _simple(handler: logging.Handler) -> Attached:
    return Attached(handler, handler.close)


def null(_: Target) -> Attached:
    """Does nothing: what the call itself costs."""
    return _simple(logging.NullHandler())


def socket_handler(target: Target) -> Attached:
    """TCP and pickle, on the caller's thread."""
    return _simple(logging.handlers.SocketHandler(HOST, target.tcp_port))


def datagram_handler(target: Target) -> Attached:
    """One datagram of pickle for each record, on the caller's thread."""
    return _simple(logging.handlers.DatagramHandler(HOST, target.udp_port))


def syslog_handler(target: Target) -> Attached:
    """One datagram of text for each record, on the caller's thread."""
    return _simple(logging.handlers.SysLogHandler((HOST, target.udp_port)))


def queue_datagram(target: Target) -> Attached:
    """A queue, and a thread that runs a DatagramHandler."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    behind = logging.handlers.DatagramHandler(HOST, target.udp_port)
    listener = logging.handlers.QueueListener(waiting, behind)
    listener.start()

    def finish() -> None:
        listener.stop()
        behind.close()

    return Attached(logging.handlers.QueueHandler(waiting), finish)


def _ours(target: Target, **settings: object) -> Attached:
    handler = BatchUDPHandler(
        HOST,
        target.udp_port,
        capacity=2 * target.records,
        shutdown_timeout=60.0,
        **settings,  # type: ignore[arg-type]  # a table of settings, checked by the handler
    )

    def finish() -> None:
        handler.close()
        stats = handler.stats()
        if stats.accepted != stats.sent:
            message = f"not everything was sent: {stats}"
            raise RuntimeError(message)

    return Attached(handler, finish)


def ours(target: Target) -> Attached:
    """As it comes."""
    return _ours(target)


def ours_500(target: Target) -> Attached:
    """A batch size for busy programs."""
    return _ours(target, batch_size=500)


def ours_1472(target: Target) -> Attached:
    """Datagrams that fit Ethernet."""
    return _ours(target, batch_size=500, max_datagram_size=1472)


def ours_json(target: Target) -> Attached:
    """Rows that any JSON receiver reads."""
    return _ours(target, encoding="json")


PEERS: Mapping[str, Callable[[Target], Attached]] = {
    "NullHandler": null,
    "SocketHandler": socket_handler,
    "DatagramHandler": datagram_handler,
    "SysLogHandler": syslog_handler,
    "QueueHandler+DatagramHandler": queue_datagram,
    "batchudp": ours,
    "batchudp batch=500": ours_500,
    "batchudp batch=500 1472 B": ours_1472,
    "batchudp json": ours_json,
}
