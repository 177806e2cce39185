"""The command `batchudp-send`.

It ships the lines of files or of standard input, or sample records at a rate, and says in the end
what became of them.

A file is read faster than any receiver can handle it. So where lines are shipped, the caller is
held when the buffer is full (`overflow="block"`), and delivery is acknowledged: the receiver
confirms batches and thereby sets the pace, and what got lost on the way is sent again. One-way
delivery has nobody who would say how fast is too fast; there a rate holds back, 20,000 lines per
second unless `--max-rate` says otherwise. Whatever is set explicitly is used as it is.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from batchudp_handler.cli.doctor import examine
from batchudp_handler.cli.ending import end_by_default
from batchudp_handler.cli.parser import (
    ExitCode,
    Parser,
    UsageError,
    add_settings,
    add_version,
    flags_of,
)
from batchudp_handler.cli.report import print_all, write_line
from batchudp_handler.cli.resolve import (
    config_text,
)
from batchudp_handler.cli.send_config import PROGRAM, SendConfig, load
from batchudp_handler.cli.shipping import Sending
from batchudp_handler.config import HandlerConfig
from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


__all__ = ["build_parser", "main"]

DESCRIPTION = "Send lines or sample records to a batchudp receiver."
EPILOG = """\
Lines come from --file ('-' is standard input), or from standard input if something is piped in.
Otherwise it sends sample records at --logs-per-second for --run-time.

examples:
  batchudp-send --target-host logs.example --file app.log
  batchudp-send --file app.log --follow
  dmesg --follow | batchudp-send --logger kernel
  batchudp-send --logs-per-second 1000 --run-time 10
  batchudp-send --target-host logs.example --doctor    find out why nothing arrives
  batchudp-send print-config

exit codes: 0 everything was sent, 64 usage, 66 no input, 69 records were dropped,
70 ended by force without a report, 78 configuration
"""


# --- settings ----------------------------------------------------------------------------------


# --- running -----------------------------------------------------------------------------------


def _run(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    end_by_default()
    loaded = load(flags_of(namespace), environ)
    if loaded.script.doctor:
        return examine(loaded.handler)
    for path in loaded.script.file:
        if path != "-" and not os.access(path, os.R_OK):
            problem = errno.EACCES if os.path.exists(path) else errno.ENOENT
            write_line(sys.stderr, PROGRAM, f"{path}: {os.strerror(problem)}")
            return ExitCode.NO_INPUT
    return Sending(loaded).run()


def _print_config(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    origins = load(flags_of(namespace), environ).origins
    script = config_text("", SendConfig, origins[SendConfig]).partition("\n")[2]
    print_all([config_text("send", HandlerConfig, origins[HandlerConfig]), "# script", script])
    return ExitCode.OK


# --- the program -------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `batchudp-send`."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EPILOG)
    add_version(parser)
    _add_all_settings(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    words = "show every setting and where it comes from"
    name = "print-config"
    _add_all_settings(
        subparsers.add_parser(name, prog=f"{PROGRAM} {name}", help=words, description=words + ".")
    )
    return parser


def _add_all_settings(parser: argparse.ArgumentParser) -> None:
    add_settings(parser, HandlerConfig, "handler")
    add_settings(parser, SendConfig, "script")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `batchudp-send`; the exit code."""
    namespace = build_parser().parse_args(argv)
    run: Any = _print_config if namespace.command else _run
    try:
        return int(run(namespace, os.environ))
    except UsageError as error:
        write_line(sys.stderr, PROGRAM, f"{error}\ntry {PROGRAM} --help")
        return ExitCode.USAGE
    except ConfigError as error:
        write_line(sys.stderr, PROGRAM, str(error))
        return ExitCode.CONFIG


if __name__ == "__main__":
    sys.exit(main())
