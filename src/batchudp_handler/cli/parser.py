"""The parts of a command line: exit codes, the parser, and a flag for each setting."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NoReturn

from batchudp_handler import __version__
from batchudp_handler.settings import Setting, settings_of

__all__ = ["ExitCode", "Parser", "UsageError", "add_settings", "add_version", "flags_of"]


class ExitCode(IntEnum):
    """From `sysexits.h`."""

    OK = 0
    USAGE = 64
    NO_INPUT = 66
    UNAVAILABLE = 69
    SOFTWARE = 70
    CANNOT_BIND = 73
    NO_PERMISSION = 77
    CONFIG = 78


class UsageError(Exception):
    """A flag is wrong; the text says what is allowed."""


class Parser(argparse.ArgumentParser):
    """Exits as `sysexits.h` asks, and takes no abbreviations, which later flags would break."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if sys.version_info >= (3, 14):
            options.setdefault("suggest_on_error", True)
        super().__init__(**options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `argparse` does, but remember what was given."""
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is."""
        # the value of a flag that does not exist is not a command that does not exist
        flags = [given.partition("=")[0] for given in self._given if given.startswith("--")]
        unknown = [flag for flag in flags if flag not in self._option_string_actions]
        if unknown and "COMMAND" in message:
            message = f"unrecognized arguments: {' '.join(unknown)}"
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\ntry {self.prog} --help\n")


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add the flag ``--version``."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def add_settings(parser: argparse.ArgumentParser, config_class: type, title: str) -> None:
    """Add a flag for each setting; what is not given leaves no trace in the namespace."""
    group = parser.add_argument_group(title)
    for item in settings_of(config_class):
        options: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS}
        options["help"] = _help(item).replace("%", "%%")
        if item.kind.is_switch:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["metavar"] = item.kind.metavar
            if item.kind.is_list:
                options["action"] = "append"
        group.add_argument(*item.flags, **options)


def _help(item: Setting) -> str:
    names = " or ".join(reversed(item.environment_names))
    return f"{item.help} (default: {_shown(item, item.default)}; environment: {names})"


def _shown(item: Setting, value: object) -> str:
    if item.secret and value is not None:
        return "<secret>"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={one}" for name, one in value.items()) or "none"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value in (None, "") else str(value)


def flags_of(namespace: argparse.Namespace) -> dict[str, object]:
    """Return the settings that were given as flags."""
    return {name: value for name, value in vars(namespace).items() if name != "command"}
