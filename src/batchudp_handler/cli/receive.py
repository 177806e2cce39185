"""What does `batchudp-receive` do, and what do its subcommands?

Without a subcommand it receives until SIGINT or SIGTERM, then finishes what has arrived and says
what was delivered and lost. Standard output carries records only.

A file given by `--config` holds settings under `[receive]`, and either a dictConfig of `logging`
under `[logging]` or one as the file itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli import decode, genkey
from batchudp_handler.cli.common import (
    ExitCode,
    Origin,
    Parser,
    UsageError,
    add_settings,
    add_version,
    as_config,
    config_text,
    known_names,
    print_all,
    read_document,
    resolve,
    section,
    write_line,
)
from batchudp_handler.cli.consumer import Consumer
from batchudp_handler.cli.ending import end_by_default
from batchudp_handler.cli.live import add_tap_arguments, health, tap
from batchudp_handler.cli.reach import (
    Unreachable,
    reach_engine,
    reach_metrics_port,
    reach_sinks,
)
from batchudp_handler.cli.service import ScriptConfig, Service
from batchudp_handler.cli.sinks import OutputConfig, Sinks
from batchudp_handler.cli.top import add_top_arguments, top
from batchudp_handler.config import ReceiverConfig
from batchudp_handler.control.notify import Notifier
from batchudp_handler.control.place import AUTO, OFF
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.places import place_text
from batchudp_handler.keys import load_keys
from batchudp_handler.receiver.group import bind_group
from batchudp_handler.receiver.receive_socket import ReceiveSocket, address_text, inherited_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection


__all__ = ["COMMANDS", "Command", "Loaded", "build_parser", "load", "main"]

PROGRAM = "batchudp-receive"
PARENT_SECONDS = 0.2
"""How often a trial of a configuration looks whether anybody still wants to know."""
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

CONFIGS: tuple[tuple[type, str], ...] = (
    (ReceiverConfig, "receiver"),
    (OutputConfig, "output"),
    (ScriptConfig, "script"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """All settings of one start or reload, with their origins."""

    receiver: ReceiverConfig
    output: OutputConfig
    script: ScriptConfig
    logging: Mapping[str, Any] | None
    origins: Mapping[type, Mapping[str, Origin]]


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: what it is for, the flags of its own, and what it does."""

    help: str
    run: Callable[[argparse.Namespace, Mapping[str, str]], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    has_settings: bool = True


# --- settings ----------------------------------------------------------------------------------


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """The settings from flags, environment, file and defaults.

    Raises:
        UsageError: A flag is wrong.
        ConfigError: Anything else is.
    """
    first = resolve(ScriptConfig, flags=flags, environ=environ, document={})
    path = first["config"].value
    document = read_document(path) if isinstance(path, str) else {}
    logging_config = _logging_config(document, str(path))
    table = section(document, "receive", known_names([each for each, _ in CONFIGS]))
    origins = {
        each: resolve(each, flags=flags, environ=environ, document=table, document_name=str(path))
        for each, _ in CONFIGS
    }
    loaded = Loaded(
        receiver=as_config(ReceiverConfig, origins[ReceiverConfig]),
        output=as_config(OutputConfig, origins[OutputConfig]),
        script=as_config(ScriptConfig, origins[ScriptConfig]),
        logging=logging_config,
        origins=origins,
    )
    if logging_config is not None and loaded.output.output is not None:
        message = "output and a logging configuration exclude each other"
        raise ConfigError(message)
    return loaded


def _logging_config(document: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    """The dictConfig of a file: its `logging` table, or the file itself without our tables."""
    ours = {"receive", "send", "logging"}
    rest = {key: value for key, value in document.items() if key not in ours}
    if "logging" in document and not rest:
        table = document["logging"]
        return table if isinstance(table, dict) else {"version": None}
    if "version" in rest and "logging" not in document:
        return rest
    if rest:
        message = (
            f"{path}: {next(iter(rest))!r} is neither receive, send, logging nor a dictConfig"
        )
        raise ConfigError(message)
    return None


def _flags(namespace: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(namespace).items() if name != "command"}


# --- subcommands -------------------------------------------------------------------------------


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    end_by_default()
    flags = _flags(namespace)
    loaded = load(flags, environ)
    keys = load_keys(loaded.receiver.key_file)
    if loaded.script.workers > 1:
        inherited = inherited_socket(os.environ, os.getpid())
        return _run_workers(loaded, flags, environ, inherited)
    sinks = Sinks(environ, stdout=sys.stdout, stderr=sys.stderr)
    sinks.apply(loaded.output, loaded.logging)
    if loaded.script.source is not None:
        return _consume(loaded, sinks)
    try:
        inherited = inherited_socket(os.environ, os.getpid())
        service = Service(
            loaded.receiver,
            loaded.script,
            sinks,
            keys=keys,
            inherited=inherited,
            stderr=sys.stderr,
            environ=os.environ,
        )
    except OSError as error:
        return _cannot_listen(loaded.receiver, error)
    return service.run(lambda: _reload(sinks, flags, environ, loaded))


def _consume(loaded: Loaded, sinks: Sinks) -> int:
    """Take batches from an engine."""
    config, script = loaded.receiver, loaded.script
    try:
        consumer = Consumer(config, script, sinks, stderr=sys.stderr, environ=os.environ)
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
    from batchudp_handler.cli.shared import SharedLock  # these three need Linux
    from batchudp_handler.cli.supervisor import Supervisor
    from batchudp_handler.cli.worker import Worker

    shared = SharedLock(os.memfd_create("batchudp-output"))
    sinks = Sinks(environ, stdout=sys.stdout, stderr=sys.stderr, shared=shared)
    sinks.use_diagnostics({})

    def work(number: int, link: Connection) -> int:
        latest = loaded
        with contextlib.suppress(ConfigError, UsageError):
            latest = load(flags, environ)  # a worker that replaces another one
        try:
            sinks.apply(latest.output, latest.logging)
            worker = Worker(config, script, sinks, keys, inherited=sockets[number], link=link)
        except ConfigError as error:
            write_line(sys.stderr, PROGRAM, str(error))
            return ExitCode.CONFIG
        return worker.run(lambda: _reload(sinks, flags, environ, loaded))

    notifier = Notifier.from_environment(os.environ, os.getpid())
    return Supervisor(config, script, sockets, work, notifier, stderr=sys.stderr).run()


def _cannot_listen(config: ReceiverConfig, error: OSError) -> int:
    where = error.filename or place_text(config.host, config.port)
    write_line(sys.stderr, PROGRAM, f"cannot listen on {where}: {error.strerror or error}")
    return ExitCode.CANNOT_BIND


def _reload(
    sinks: Sinks, flags: Mapping[str, object], environ: Mapping[str, str], running: Loaded
) -> str:
    """Read the configuration again; what cannot be used is an error, and nothing changes."""
    loaded = load(flags, environ)
    if loaded.logging is not None:
        _try_elsewhere(loaded)
    sinks.apply(loaded.output, loaded.logging)
    changed = loaded.receiver != running.receiver
    return "configuration read" + ("; settings of the receiver need a restart" if changed else "")


def _try_elsewhere(loaded: Loaded) -> None:
    """Try a logging configuration in another process: a bad one would half replace ours."""
    import json  # only a reload needs these two
    import subprocess

    code = "import json, sys; from batchudp_handler.cli import receive; receive.try_logging()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([loaded.logging, sys.path], default=str),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if run.returncode:
        raise ConfigError(
            run.stderr.strip().rpartition("\n")[2] or "logging configuration refused"
        )


def try_logging() -> None:
    """Build the logging configuration on standard input, and exit with what is wrong with it."""
    import json

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    config, sys.path[:] = json.load(sys.stdin)
    sinks = Sinks(os.environ, stdout=sys.stdout, stderr=sys.stderr)
    try:
        sinks.apply(OutputConfig(), _without_truncation(config))
    except ConfigError as error:
        sys.exit(str(error))


def _end_with(parent: int) -> None:
    """End this process soon after its parent: what it tries may take for ever."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _without_truncation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration for a trial: a file of the running receiver must not lose its content."""
    handlers = config.get("handlers")
    if not isinstance(handlers, dict):
        return dict(config)
    safe = {
        name: {**one, "mode": "a"} if isinstance(one, dict) and one.get("mode") == "w" else one
        for name, one in handlers.items()
    }
    return {**config, "handlers": safe}


def _print_config(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    loaded = load(_flags(namespace), environ)
    lines = []
    for each, title in CONFIGS:
        text = config_text(title, each, loaded.origins[each]).partition("\n")[2]
        lines += ["[receive]" if each is ReceiverConfig else f"# {title}", text]
    if loaded.logging is not None:
        lines.append(f"# logging configuration from {loaded.script.config}")
    print_all(lines)
    return ExitCode.OK


def _check(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    flags = _flags(namespace)
    bind, reach = flags.pop("bind", True), flags.pop("reach", True)
    loaded = load(flags, environ)
    load_keys(loaded.receiver.key_file)
    sinks = Sinks(environ, stdout=sys.stdout, stderr=sys.stderr)
    logging_config = loaded.logging and _without_truncation(loaded.logging)
    sinks.apply(loaded.output, logging_config)
    try:
        print_all([*(_reached(loaded) if reach else ()), *(_bound(loaded) if bind else ())])
    except Unreachable as error:
        write_line(sys.stderr, PROGRAM, str(error))
        return ExitCode.UNAVAILABLE
    except OSError as error:
        where = f" on {error.filename}" if error.filename else ""
        write_line(sys.stderr, PROGRAM, f"cannot listen{where}: {error.strerror or error}")
        return ExitCode.CANNOT_BIND
    finally:
        sinks.close()
    print_all(["configuration ok"])
    return ExitCode.OK


def _reached(loaded: Loaded) -> Iterator[str]:
    """What records would go to, or come from."""
    yield from reach_sinks()
    for engine in (loaded.script.forward, loaded.script.source):
        if engine is not None:
            yield reach_engine(engine, creates_stream=loaded.script.create_stream)


def _bound(loaded: Loaded) -> Iterator[str]:
    """Where senders and others would find the receiver."""
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


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
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


COMMANDS: dict[str, Command] = {
    "check": Command(
        "test the configuration, the keys, the address and the servers behind outputs",
        _check,
        _add_check_arguments,
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
    """The parser of `batchudp-receive`."""
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
