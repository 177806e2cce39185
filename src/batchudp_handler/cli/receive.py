"""The command `batchudp-receive` and its subcommands.

Without a subcommand it receives until SIGINT or SIGTERM, then finishes what has arrived and says
what was delivered and lost. Standard output carries records only.

A file given by `--config` holds settings under `[receive]`, and either a dictConfig of `logging`
under `[logging]` or one as the file itself.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.cli import check, decode, genkey, run
from batchudp_handler.cli.live import add_tap_arguments, health, tap
from batchudp_handler.cli.parser import (
    ExitCode,
    Parser,
    UsageError,
    add_settings,
    add_version,
    flags_of,
)
from batchudp_handler.cli.receive_config import CONFIGS, load
from batchudp_handler.cli.report import print_all, write_line
from batchudp_handler.cli.resolve import (
    config_text,
)
from batchudp_handler.cli.script_config import PROGRAM
from batchudp_handler.cli.top import add_top_arguments, top
from batchudp_handler.config import ReceiverConfig
from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence


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


# --- subcommands -------------------------------------------------------------------------------


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
RUN = Command("receive until SIGINT or SIGTERM", run.run)


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
