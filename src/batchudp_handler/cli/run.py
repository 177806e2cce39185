"""The start of a receiving process: alone, in several processes, or from an engine."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from batchudp_handler.cli.consumer import Consumer
from batchudp_handler.cli.ending import end_by_default
from batchudp_handler.cli.outputs import Outputs
from batchudp_handler.cli.parser import (
    ExitCode,
    UsageError,
    flags_of,
)
from batchudp_handler.cli.receive_config import Loaded, load
from batchudp_handler.cli.reload import reload_outputs
from batchudp_handler.cli.report import write_line
from batchudp_handler.cli.script_config import PROGRAM, ScriptConfig
from batchudp_handler.cli.service import Service
from batchudp_handler.control.notify import Notifier
from batchudp_handler.control.place import AUTO, OFF
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.places import place_text
from batchudp_handler.keys import load_keys
from batchudp_handler.receiver.group import bind_group
from batchudp_handler.receiver.receive_socket import inherited_socket

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    from batchudp_handler.config import ReceiverConfig

__all__ = ["run"]


def run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Receive until told to end, and return the exit code."""
    end_by_default()
    flags = flags_of(namespace)
    loaded = load(flags, environ)
    keys = load_keys(loaded.receiver.key_file)
    if loaded.script.workers > 1:
        inherited = inherited_socket(os.environ, os.getpid())
        return _run_workers(loaded, flags, environ, inherited)
    outputs = Outputs(environ, stdout=sys.stdout, stderr=sys.stderr)
    outputs.apply(loaded.output, loaded.logging)
    if loaded.script.source is not None:
        return _consume(loaded, outputs)
    try:
        inherited = inherited_socket(os.environ, os.getpid())
        service = Service(
            loaded.receiver,
            loaded.script,
            outputs,
            keys=keys,
            inherited=inherited,
            stderr=sys.stderr,
            environ=os.environ,
        )
    except OSError as error:
        return _cannot_listen(loaded.receiver, error)
    return service.run(lambda: reload_outputs(outputs, flags, environ, loaded))


def _consume(loaded: Loaded, outputs: Outputs) -> int:
    """Take batches from an engine."""
    config, script = loaded.receiver, loaded.script
    try:
        consumer = Consumer(config, script, outputs, stderr=sys.stderr, environ=os.environ)
    except OSError as error:
        return _cannot_listen(config, error)
    return consumer.run()


def _run_workers(
    loaded: Loaded,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    inherited: socket.socket | None,
) -> int:
    """Receive in several processes, under a supervisor."""
    config, script = loaded.receiver, loaded.script
    _refuse_for_workers(script, inherited)
    keys = load_keys(config.key_file)
    try:
        sockets = bind_group(config.host, config.port, script.workers)
    except OSError as error:
        return _cannot_listen(config, error)
    from batchudp_handler.cli.process_lock import ProcessLock  # these three need Linux
    from batchudp_handler.cli.supervisor import Supervisor
    from batchudp_handler.cli.worker_process import WorkerProcess

    shared = ProcessLock(os.memfd_create("batchudp-output"))
    outputs = Outputs(environ, stdout=sys.stdout, stderr=sys.stderr, shared=shared)
    outputs.use_diagnostics({})

    def work(number: int, link: Connection) -> int:
        latest = loaded
        with contextlib.suppress(ConfigError, UsageError):
            latest = load(flags, environ)  # a worker that replaces another one
        try:
            outputs.apply(latest.output, latest.logging)
            worker = WorkerProcess(
                config, script, outputs, keys, inherited=sockets[number], link=link
            )
        except ConfigError as error:
            write_line(sys.stderr, PROGRAM, str(error))
            return ExitCode.CONFIG
        return worker.run(lambda: reload_outputs(outputs, flags, environ, loaded))

    notifier = Notifier.from_environment(os.environ, os.getpid())
    return Supervisor(config, script, sockets, work, notifier, stderr=sys.stderr).run()


def _refuse_for_workers(script: ScriptConfig, inherited: socket.socket | None) -> None:
    """Refuse what several processes cannot do together.

    Raises:
        ConfigError: Something of it was asked for.
    """
    refused = {
        "--from": script.source is not None,
        "a control socket": script.control_socket not in {AUTO, OFF},
        "--metrics-port": script.metrics_port is not None,
        "a socket of the service manager": inherited is not None,
    }
    if any(refused.values()):
        what = next(what for what, is_wanted in refused.items() if is_wanted)
        message = f"more than one worker is not possible with {what}"
        raise ConfigError(message)


def _cannot_listen(config: ReceiverConfig, error: OSError) -> int:
    where = error.filename or place_text(config.host, config.port)
    write_line(sys.stderr, PROGRAM, f"cannot listen on {where}: {error.strerror or error}")
    return ExitCode.CANNOT_BIND
