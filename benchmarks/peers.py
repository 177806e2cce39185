"""The handlers that are compared, and how each is set up.

Each peer is a function that makes a handler for a target and gives back what to attach to the
logger and what to call at the end, so that nothing is still waiting when the last time is taken. A
peer whose library is missing raises ImportError and is left out. Every peer gets room for all
records of a run: dropping would be cheap and is not what is compared. All else is as it comes.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchudp_handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HOST = "127.0.0.1"
BASELINE = "NullHandler"
OURS = "batchudp"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send to, and how many records will come.

    The ports are those of `sink.Sink`.
    """

    ports: Mapping[str, int]
    records: int
    key_file: str = ""

    @property
    def room(self) -> int:
        """Enough for all of them, and for those that warm up."""
        return 2 * self.records + 5_000


@dataclass(frozen=True, slots=True)
class Attached:
    """A handler at work, and how to finish with it."""

    handler: logging.Handler
    finish: Callable[[], None]


def _simple(handler: logging.Handler) -> Attached:
    return Attached(handler, handler.close)


# --- the standard library ------------------------------------------------------------------------


def null(_: Target) -> Attached:
    """Does nothing: what the call itself costs."""
    return _simple(logging.NullHandler())


def socket_handler(target: Target) -> Attached:
    """TCP and pickle, on the caller's thread."""
    return _simple(logging.handlers.SocketHandler(HOST, target.ports["frames"]))


def datagram_handler(target: Target) -> Attached:
    """One datagram of pickle for each record, on the caller's thread."""
    return _simple(logging.handlers.DatagramHandler(HOST, target.ports["udp"]))


def syslog_handler(target: Target) -> Attached:
    """One datagram of text for each record, on the caller's thread."""
    return _simple(logging.handlers.SysLogHandler((HOST, target.ports["udp"])))


def queue_datagram(target: Target) -> Attached:
    """A queue, and a thread that runs a DatagramHandler."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    behind = logging.handlers.DatagramHandler(HOST, target.ports["udp"])
    listener = logging.handlers.QueueListener(waiting, behind)
    listener.start()

    def finish() -> None:
        listener.stop()
        behind.close()

    return Attached(logging.handlers.QueueHandler(waiting), finish)


# --- from PyPI -----------------------------------------------------------------------------------


def logstash_async(target: Target) -> Attached:
    """A queue in memory, and a thread that sends JSON lines over TCP."""
    from logstash_async.handler import AsynchronousLogstashHandler

    port = target.ports["lines"]
    return _simple(AsynchronousLogstashHandler(HOST, port, database_path=None))


def graypy(target: Target) -> Attached:
    """One compressed GELF datagram for each record, on the caller's thread."""
    from graypy import GELFUDPHandler

    return _simple(GELFUDPHandler(HOST, target.ports["udp"]))


def pygelf(target: Target) -> Attached:
    """The same, by another library."""
    from pygelf import GelfUdpHandler

    return _simple(GelfUdpHandler(HOST, target.ports["udp"], include_extra_fields=True))


def fluent_logger(target: Target) -> Attached:
    """MessagePack over TCP, sent by a thread."""
    from fluent.asynchandler import FluentHandler

    port = target.ports["msgpack"]
    return _simple(FluentHandler("benchmark", host=HOST, port=port, queue_maxsize=target.room))


def opentelemetry(target: Target) -> Attached:
    """The batch processor of the SDK, with OTLP over HTTP, compressed."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    endpoint = f"http://{HOST}:{target.ports['http']}/v1/logs"
    exporter = OTLPLogExporter(endpoint, compression=Compression.Gzip)
    provider = LoggerProvider()
    processor = BatchLogRecordProcessor(exporter, max_queue_size=target.room)
    provider.add_log_record_processor(processor)
    return Attached(LoggingHandler(logger_provider=provider), provider.shutdown)


# --- ours ----------------------------------------------------------------------------------------


def _ours(target: Target, port: str = "udp", **settings: Any) -> Attached:
    handler = BatchUDPHandler(
        HOST,
        target.ports[port],
        capacity=target.room,
        shutdown_timeout=60.0,
        **settings,
    )

    def finish() -> None:
        handler.close()
        stats = handler.stats()
        if stats.accepted != stats.sent + stats.confirmed:
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
    return _ours(target, max_datagram_size=1472)


def ours_500_1472(target: Target) -> Attached:
    """Both."""
    return _ours(target, batch_size=500, max_datagram_size=1472)


def ours_acknowledged(target: Target) -> Attached:
    """Records are kept until a receiver's handlers have returned."""
    return _ours(target, "receiver", delivery="acknowledged")


def ours_acknowledged_500(target: Target) -> Attached:
    """The same with larger batches."""
    return _ours(target, "receiver", delivery="acknowledged", batch_size=500)


def ours_keyed(target: Target) -> Attached:
    """Every datagram with an HMAC."""
    return _ours(target, "keyed", batch_size=500, key_file=target.key_file)


def ours_json(target: Target) -> Attached:
    """Rows that any JSON receiver reads."""
    return _ours(target, encoding="json")


PEERS: Mapping[str, Callable[[Target], Attached]] = {
    BASELINE: null,
    "SocketHandler": socket_handler,
    "DatagramHandler": datagram_handler,
    "SysLogHandler": syslog_handler,
    "QueueHandler + DatagramHandler": queue_datagram,
    "python-logstash-async": logstash_async,
    "graypy": graypy,
    "pygelf": pygelf,
    "fluent-logger": fluent_logger,
    "OpenTelemetry": opentelemetry,
    OURS: ours,
    "batchudp batch=500": ours_500,
    "batchudp 1,472 B": ours_1472,
    "batchudp batch=500 1,472 B": ours_500_1472,
    "batchudp acknowledged": ours_acknowledged,
    "batchudp acknowledged batch=500": ours_acknowledged_500,
    "batchudp keyed batch=500": ours_keyed,
    "batchudp json": ours_json,
}
NOBODY = Target(
    dict.fromkeys(("udp", "frames", "lines", "msgpack", "http", "receiver", "keyed"), 9), 1
)
"""For finding out what is installed; port 9 throws away what it gets."""
FEW = ("OpenTelemetry", "python-logstash-async", "graypy", "pygelf")
"""So slow that a quarter of the records says as much."""


def missing(names: Sequence[str]) -> dict[str, str]:
    """Those whose library is not installed, and what is missing."""
    absent = {}
    for name in names:
        try:
            if not name.startswith(OURS):
                PEERS[name](NOBODY).finish()
        except ImportError as error:
            absent[name] = str(error)
    return absent
