"""The commands `health` and `tap`, which look at a receiver that runs.

Both ask it over its control socket, which `--control-socket` names, or which is found where a
receiver makes it by default.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from batchudp_handler.cli.parser import ExitCode, UsageError
from batchudp_handler.cli.report import leave_standard_output, print_all, write_line
from batchudp_handler.cli.resolve import read_document, resolve, section
from batchudp_handler.cli.script_config import PROGRAM, ScriptConfig
from batchudp_handler.control.client import NobodyAnswers, ask, follow
from batchudp_handler.control.place import places_to_look
from batchudp_handler.settings import LEVEL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["add_tap_arguments", "health", "places", "tap"]

NOT_HEALTHY = 1
"""What container engines expect of a health check that fails."""


def places(namespace: argparse.Namespace, environ: Mapping[str, str]) -> Sequence[str]:
    """Return where the receiver may be asked, as the receiver itself finds its settings."""
    flags = vars(namespace)
    path = resolve(ScriptConfig, flags=flags, environ=environ, document={})["config"].value
    document = read_document(path) if isinstance(path, str) else {}
    table = section(document, "receive", document.get("receive", {}))
    found = resolve(ScriptConfig, flags=flags, environ=environ, document=table)
    return places_to_look(str(found["control_socket"].value), environ)


def health(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print one line; return 0 for a receiver that does its work, 1 for anything else."""
    try:
        answer = ask(places(namespace, environ), "health")
    except NobodyAnswers as error:
        print_all([f"not healthy: nobody answers: {error}"])
        return NOT_HEALTHY
    print_all([str(answer["text"])])
    return ExitCode.OK if answer["healthy"] else NOT_HEALTHY


def add_tap_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `tap` that select records; `--level`, a setting, selects as well."""
    group = parser.add_argument_group("records")
    group.add_argument("--logger", metavar="NAME", help="only this logger and its children")
    group.add_argument(
        "--sender", metavar="HOST", help="only this host, by its own name or by address[:port]"
    )


def tap(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print records as they arrive, a JSON object a line, until a signal or the receiver's end."""
    wanted = {"level": _level(getattr(namespace, "level", "0"))}
    wanted |= {
        name: getattr(namespace, name)
        for name in ("logger", "sender")
        if getattr(namespace, name, None)
    }
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _print_lines(follow(places(namespace, environ), wanted))
    except NobodyAnswers as error:
        write_line(sys.stderr, PROGRAM, f"nobody answers: {error}")
        return ExitCode.UNAVAILABLE
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        leave_standard_output()
    return ExitCode.OK


def _level(value: object) -> object:
    try:
        return LEVEL.convert(value)
    except (ValueError, TypeError, KeyError):
        raise UsageError(f"--level must be {LEVEL.allowed}, not {value!r}") from None


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
