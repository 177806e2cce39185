"""The command `batchudp-receive` and its subcommands.

Without a subcommand it receives until SIGINT or SIGTERM, then finishes what has arrived and says
what was delivered and lost. Standard output carries records only.

A file given by `--config` holds settings under `[receive]`, and either a dictConfig of `logging`
under `[logging]` or one as the file itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.cli import check, decode, genkey
from batchudp_handler.cli.consumer import Consumer
from batchudp_handler.cli.ending import end_by_default
from batchudp_handler.cli.live import add_tap_arguments, health, tap
from batchudp_handler.cli.outputs import Outputs
from batchudp_handler.cli.parser import (
    ExitCode,
    Parser,
    UsageError,
    add_settings,
    add_version,
    flags_of,
)
from batchudp_handler.cli.receive_config import CONFIGS, Loaded, load
from batchudp_handler.cli.reload import reload_outputs
from batchudp_handler.cli.report import print_all, write_line
from batchudp_handler.cli.resolve import (
    config_text,
)
from batchudp_handler.cli.script_config import PROGRAM
from batchudp_handler.cli.service import Service
from batchudp_handler.cli.top import add_top_arguments, top
from batchudp_handler.config import ReceiverConfig
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
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection


__all__ = ["COMMANDS", "Command", "build_parser", "main"]

DESCRIPTION = "Receive log records over UDP and hand them to this machine's logging."
EPILOG = """\
examples:
  batchudp-receive                                     print records from port 9999
  batchudp-receive --port 0 --ready-file where         use a free port, write it to a file
  batchudp-receive --output app.log --max-bytes 10000000 --backups 5
  batchudp-receive --workers 4 --output app.log        four processes, one port, one file
  batchudp-receive --format json | jq 'select(.level == "ERROR")'
  batchudp-receive --config logging.toml               any logging.config.dictConfig
  batchudp-receive print-config                        every setting and where it comes from
  batchudp-receive top                                 live table of the senders
  batchudp-receive tap --level ERROR                   print a running receiver's errors
  batchudp-receive decode capture.pcap                 show the datagrams in a capture
  batchudp-receive genkey --output receiver.key        a key, for --key-file here and in senders

exit codes: 0 success, 1 not healthy, 64 usage, 69 no answer (top, tap, check),
70 ended by force without a report, 73 cannot bind, 78 configuration
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: what it is for, the flags of its own, and what it does."""

    help: str
    run: Callable[[argparse.Namespace, Mapping[str, str]], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    has_settings: bool = True


# --- settings ----------------------------------------------------------------------------------


# --- subcommands -------------------------------------------------------------------------------


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
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


def _cannot_listen(config: ReceiverConfig, error: OSError) -> int:
    where = error.filename or place_text(config.host, config.port)
    write_line(sys.stderr, PROGRAM, f"cannot listen on {where}: {error.strerror or error}")
    return ExitCode.CANNOT_BIND


def _print_config(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    loaded = load(flags_of(namespace), environ)
    lines = []
    for each, title in CONFIGS:
        text = config_text(title, each, loaded.origins[each]).partition("\n")[2]
        lines += ["[receive]" if each is ReceiverConfig else f"# {title}", text]
    if loaded.logging is not None:
        lines.append(f"# logging configuration from {loaded.script.config}")
    print_all(lines)
    return ExitCode.OK


COMMANDS: dict[str, Command] = {
    "check": Command(
        "test the configuration, the keys, the address and the servers behind outputs",
        check.run,
        check.add_arguments,
    ),
    "decode": Command(
        "show the datagrams of a capture or a spool segment as text",
        decode.run,
        decode.add_arguments,
        has_settings=False,
    ),
    "genkey": Command(
        "make a key and print it as a line of a key file",
        genkey.run,
        genkey.add_arguments,
        has_settings=False,
    ),
    "health": Command("tell whether the running receiver is healthy, by exit code 0 or 1", health),
    "print-config": Command("show every setting and where it comes from", _print_config),
    "tap": Command("print the running receiver's records as JSON lines", tap, add_tap_arguments),
    "top": Command("show the live rates and losses of each sender", top, add_top_arguments),
}
RUN = Command("receive until SIGINT or SIGTERM", _run)


# --- the program -------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `batchudp-receive`."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EPILOG)
    add_version(parser)
    _add_all_settings(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, prog=f"{PROGRAM} {name}", help=command.help, description=command.help + "."
        )
        if command.has_settings:
            _add_all_settings(subparser)
        if command.add_arguments is not None:
            command.add_arguments(subparser)
    return parser


def _add_all_settings(parser: argparse.ArgumentParser) -> None:
    for each, title in CONFIGS:
        add_settings(parser, each, title)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `batchudp-receive`; the exit code."""
    namespace = build_parser().parse_args(argv)
    command = COMMANDS[namespace.command] if namespace.command else RUN
    try:
        return int(command.run(namespace, os.environ))
    except UsageError as error:
        write_line(sys.stderr, PROGRAM, f"{error}\ntry {PROGRAM} --help")
        return ExitCode.USAGE
    except ConfigError as error:
        write_line(sys.stderr, PROGRAM, str(error))
        return ExitCode.CONFIG


if __name__ == "__main__":
    sys.exit(main())
