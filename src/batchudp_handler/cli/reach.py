"""Trials of what a receiver hands records to: engines, servers and files.

For `check`: the engine of `--forward` or `--from`, and the handlers of a logging configuration
that speak to another program. Nothing is sent to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import logging.handlers
import os
import shutil
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.platform import AF_UNIX, CAN_REUSE_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.engines.otlp_target import OtlpTarget

__all__ = ["Unreachable", "reach_engine", "reach_files", "reach_metrics_port", "reach_outputs"]

SECONDS = 5.0


class Unreachable(Exception):
    """Something does not answer; the text says what and why."""


@dataclass(frozen=True, slots=True)
class Target:
    """The other end of a handler."""

    name: str
    kind: int
    address: Any


def reach_outputs() -> Iterator[str]:
    """Try what the configured handlers speak to; a line for each that answers.

    Raises:
        Unreachable: One does not.
    """
    targets = dict.fromkeys(
        target for handler in _handlers() if (target := _target(handler)) is not None
    )
    for target in targets:
        family = AF_UNIX if isinstance(target.address, str) else socket.AF_UNSPEC
        try:
            _connect(family, target)
        except OSError as error:
            raise Unreachable(f"cannot reach {target.name}: {error.strerror or error}") from None
        yield f"can reach {target.name}"


def reach_files(output: str | None) -> Iterator[str]:
    """Try whether files take another line; return a line for each that does.

    A regular file is not written to: its disk must have room. A device such as `/dev/full` shows
    only when it is written to what it thinks of that.

    Args:
        output: The file of `--output`.

    Raises:
        Unreachable: One takes nothing.
    """
    files = [handler.baseFilename for handler in _handlers() if _is_file(handler)]
    for path in dict.fromkeys([*([] if output is None else [output]), *files]):
        try:
            _try_to_write(path)
        except OSError as error:
            raise Unreachable(f"cannot write to {path}: {error.strerror or error}") from None
        yield f"can write to {path}"


def _is_file(handler: logging.Handler) -> TypeGuard[logging.FileHandler]:
    return isinstance(handler, logging.FileHandler)


def _try_to_write(path: str) -> None:
    if not os.path.exists(path):
        path = os.path.dirname(os.path.abspath(path))  # of a handler that opens it later
    if stat.S_ISCHR(os.stat(path).st_mode):
        with open(path, "wb", buffering=0) as device:
            device.write(b"\n")
    elif shutil.disk_usage(path).free == 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _handlers() -> Iterator[logging.Handler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            yield handler
            target = getattr(handler, "target", None)  # of a MemoryHandler
            if isinstance(target, logging.Handler):
                yield target


def _target(handler: logging.Handler) -> Target | None:
    kinds = logging.handlers
    address: Any
    if isinstance(handler, kinds.SysLogHandler):
        address, kind = handler.address, handler.socktype or socket.SOCK_DGRAM
    elif isinstance(handler, kinds.SocketHandler):  # DatagramHandler is one
        is_datagram = isinstance(handler, kinds.DatagramHandler)
        kind = socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM
        address = handler.host if handler.port is None else (handler.host, handler.port)
    elif isinstance(handler, kinds.HTTPHandler):
        host, _, port = handler.host.partition(":")
        address, kind = (host, int(port or (443 if handler.secure else 80))), socket.SOCK_STREAM
    elif isinstance(handler, kinds.SMTPHandler):
        address, kind = (handler.mailhost, handler.mailport or 25), socket.SOCK_STREAM
    else:
        return None
    where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    return Target(f"{where} of a {type(handler).__name__}", kind, address)


def _connect(family: int, target: Target) -> None:
    """Connect to the target: over TCP somebody has to listen, a datagram only needs a way."""
    if family == AF_UNIX:
        with socket.socket(family, target.kind) as plain:
            plain.connect(target.address)
        return
    host, port = target.address
    found = socket.getaddrinfo(host, port, type=target.kind)
    for number, (family, kind, protocol, _, address) in enumerate(found, 1):
        with socket.socket(family, kind, protocol) as plain:
            plain.settimeout(SECONDS)
            try:
                plain.connect(address)
            except OSError:
                if number == len(found):
                    raise
            else:
                return


def reach_engine(url: str, *, creates_stream: bool) -> str:
    """Ask the engine for its stream; without it, only one that is told to creates it.

    Raises:
        ConfigError: The URL is wrong, or the library is missing.
        Unreachable: The engine does not answer, or has no such stream.
    """
    from batchudp_handler.engines import forwarder
    from batchudp_handler.engines.nats_target import NatsTarget
    from batchudp_handler.engines.otlp_target import OtlpTarget, is_otlp

    forwarder(url)  # says what is wrong with the URL, and which extra is missing
    if is_otlp(url):
        return _reach_collector(OtlpTarget.from_url(url))
    target = NatsTarget.from_url(url)
    where = ", ".join(server.rpartition("@")[2].rpartition("/")[2] for server in target.servers)
    problem = asyncio.run(_try_engine(target))
    if problem == "NotFoundError" and creates_stream:
        return f"the engine at {where} answers; the stream {target.stream} will be made"
    if problem is not None:
        raise Unreachable(f"the engine at {where}, stream {target.stream}: {problem}")
    return f"the engine at {where} answers and has the stream {target.stream}"


def _reach_collector(target: OtlpTarget) -> str:
    """Connect to a collector; it is sent nothing."""
    address = (target.host, target.port)
    try:
        _connect(socket.AF_UNSPEC, Target(target.place, socket.SOCK_STREAM, address))
    except OSError as error:
        raise Unreachable(f"the collector at {target.place}: {error.strerror or error}") from None
    return f"the collector at {target.place} answers"


async def _try_engine(target: Any) -> str | None:
    """Return None, or the name of what went wrong; an error's text may hold a password."""
    from batchudp_handler.engines.nats_client import ENGINE_ERRORS, Connection

    connection = Connection(target)
    try:
        await asyncio.wait_for(connection.open(create_stream=False), SECONDS)
    except TimeoutError:
        return f"no answer within {SECONDS:.0f} s"
    except ENGINE_ERRORS as error:
        return type(error).__name__
    finally:
        with contextlib.suppress(*ENGINE_ERRORS):
            await connection.close()
    return None


def reach_metrics_port(host: str, port: int) -> str:
    """Try whether the page for Prometheus can be served.

    Raises:
        ConfigError: The extra is missing.
        OSError: The address is taken.
    """
    try:
        import prometheus_client  # noqa: F401  # is it there?
    except ImportError:
        message = "metrics_port needs the extra: pip install batchudp-handler[prometheus]"
        raise ConfigError(message) from None
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as plain:
        if CAN_REUSE_ADDRESS:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            plain.bind(address)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{host}:{port} for metrics") from None
    return f"can serve metrics on {host}:{port}"
