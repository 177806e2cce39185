"""The command `check`: whether a receiver could start with this configuration."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from batchudp_handler.cli.outputs import Outputs
from batchudp_handler.cli.parser import ExitCode, flags_of
from batchudp_handler.cli.reach import (
    Unreachable,
    reach_engine,
    reach_files,
    reach_metrics_port,
    reach_outputs,
)
from batchudp_handler.cli.receive_config import Loaded, load
from batchudp_handler.cli.reload import without_truncation
from batchudp_handler.cli.report import print_all, write_line
from batchudp_handler.cli.script_config import PROGRAM
from batchudp_handler.keys import load_keys
from batchudp_handler.receiver.receive_socket import ReceiveSocket, address_text
from batchudp_handler.receiver.reemit import DIAGNOSTICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batchudp_handler.config import ReceiverConfig

__all__ = ["add_arguments", "run"]


def run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Try everything that the start would need, and return the exit code."""
    flags = flags_of(namespace)
    bind, reach = flags.pop("bind", True), flags.pop("reach", True)
    loaded = load(flags, environ)
    load_keys(loaded.receiver.key_file)
    outputs = Outputs(environ, stdout=sys.stdout, stderr=sys.stderr)
    logging_config = loaded.logging and without_truncation(loaded.logging)
    outputs.apply(loaded.output, logging_config)
    try:
        doubts = [] if loaded.script.forward else list(_unheard_loggers())
        print_all([*(_reached(loaded) if reach else ()), *(_bound(loaded) if bind else ())])
    except Unreachable as error:
        write_line(sys.stderr, PROGRAM, str(error))
        return ExitCode.UNAVAILABLE
    except OSError as error:
        where = f" on {error.filename}" if error.filename else ""
        write_line(sys.stderr, PROGRAM, f"cannot listen{where}: {error.strerror or error}")
        return ExitCode.CANNOT_BIND
    finally:
        outputs.close()
    for doubt in doubts:
        write_line(sys.stderr, PROGRAM, f"warning: {doubt}")
    print_all(["configuration ok"])
    return ExitCode.OK


def _reached(loaded: Loaded) -> Iterator[str]:
    """Return a line for each thing that records would go to, or come from."""
    yield from reach_outputs()
    yield from reach_files(loaded.output.output)
    for engine in (loaded.script.forward, loaded.script.source):
        if engine is not None:
            yield reach_engine(engine, creates_stream=loaded.script.create_stream)


def _bound(loaded: Loaded) -> Iterator[str]:
    """Return a line for each address at which the receiver would be found."""
    if loaded.script.source is None:
        yield f"can listen on {_try_to_bind(loaded.receiver)}"
    if loaded.script.metrics_port is not None:
        yield reach_metrics_port(loaded.script.metrics_host, loaded.script.metrics_port)


def _try_to_bind(config: ReceiverConfig) -> str:
    tried = ReceiveSocket(
        config.host, config.port, receive_buffer=config.receive_buffer, buffer_size=512
    )
    try:
        return address_text(tried.address)
    finally:
        tried.close()


def _unheard_loggers() -> Iterator[str]:
    """Return in words which records the logging configuration leaves without a handler."""
    own = DIAGNOSTICS.partition(".")[0]
    loggers = {
        name: logger
        for name, logger in sorted(logging.Logger.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and name.partition(".")[0] != own
    }
    if logging.getLogger().handlers:
        for name, logger in loggers.items():
            if not logger.hasHandlers():
                yield f"records of {name} reach no handler"
        return
    heard = [name for name, logger in loggers.items() if logger.handlers]
    if heard:
        names = ", ".join(heard)
        yield f"only records of {names} and the loggers below it reach a handler"
    else:
        yield "no record reaches a handler; give the root logger one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `check`."""
    parser.add_argument(
        "--bind",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="try to listen; this fails while the receiver runs (default: true)",
    )
    parser.add_argument(
        "--reach",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="try to reach the engine and the servers of logging handlers (default: true)",
    )
