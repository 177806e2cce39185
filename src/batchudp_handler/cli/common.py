"""Where does a script get its settings from, and what does it exit with?

Each setting comes from the first of these that has it: a flag, ``BATCHUDP_X``, the plain ``X``
where there is one, a file, the default. ``resolve`` keeps with every value where it came from, so
that ``print-config`` can say it and an error can be blamed on the right place: a wrong flag is a
wrong usage (64), anything else a wrong configuration (78).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

from batchudp_handler import __version__
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.samples import Distribution
from batchudp_handler.settings import Setting, settings_of, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ExitCode",
    "Origin",
    "Parser",
    "UsageError",
    "add_settings",
    "add_version",
    "as_config",
    "config_text",
    "known_names",
    "leave_standard_output",
    "numbers_of",
    "print_all",
    "read_document",
    "resolve",
    "section",
    "stats_json",
    "summary_text",
    "write_line",
]

C = TypeVar("C")

DEFAULT = "default"


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
        """As `argparse` does it, but remember what was given."""
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
    """``--version``."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def add_settings(parser: argparse.ArgumentParser, config_class: type, title: str) -> None:
    """A flag for each setting; what is not given leaves no trace in the namespace."""
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


# --- resolving ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """One value with its place of birth."""

    value: object
    source: str
    """A flag, the name of a variable, a file, or `default`."""


def resolve(
    config_class: type,
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    document: Mapping[str, object],
    document_name: str = "",
) -> dict[str, Origin]:
    """The value of every setting, converted, and where it came from.

    Raises:
        UsageError: A flag's value is not allowed.
        ConfigError: Another value is not allowed; the text names its source.
    """
    resolved = {}
    for item in settings_of(config_class):
        found = (
            _from_flags(item, flags)
            or _from_environment(item, environ)
            or _from_document(item, document, document_name)
            or Origin(item.default, DEFAULT)
        )
        resolved[item.name] = Origin(_converted(item, found), found.source)
    return resolved


def _from_flags(item: Setting, flags: Mapping[str, object]) -> Origin | None:
    if item.name not in flags:
        return None
    value = flags[item.name]
    if item.kind.is_list and isinstance(value, list):
        value = ",".join(value)
    return Origin(value, item.flags[0])


def _from_environment(item: Setting, environ: Mapping[str, str]) -> Origin | None:
    for name in item.environment_names:
        if environ.get(name):
            return Origin(environ[name], name)
        path = environ.get(name + "_FILE") if item.secret else None
        if path:
            return Origin(_secret_in(path, name + "_FILE"), name + "_FILE")
    return None


def _secret_in(path: str, name: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name}: {path} cannot be read ({type(error).__name__})"
        raise ConfigError(message) from None


def _from_document(item: Setting, document: Mapping[str, object], name: str) -> Origin | None:
    return Origin(document[item.name], name) if item.name in document else None


def _converted(item: Setting, found: Origin) -> object:
    try:
        return item.convert(found.value)
    except ConfigError as error:
        if found.source.startswith("-"):
            raise UsageError(str(error)) from None
        message = f"{found.source}: {error}"
        raise ConfigError(message) from None


def as_config(config_class: type[C], resolved: Mapping[str, Origin]) -> C:
    """The config of those values; checks those that depend on each other."""
    return config_class(**{item.name: resolved[item.name].value for item in fields(config_class)})  # type: ignore[arg-type]  # a dataclass


def config_text(title: str, config_class: type, resolved: Mapping[str, Origin]) -> str:
    """The settings as a TOML table, each with its origin; secrets are not shown."""
    lines = [f"[{title}]"]
    for item in settings_of(config_class):
        origin = resolved[item.name]
        assignment = _assignment(item, origin.value)
        lines.append(f"{assignment:<42} # {origin.source}")
    return "\n".join(lines)


def _assignment(item: Setting, value: object) -> str:
    if value is None:
        return f"# {item.name} is not set"
    if item.secret:
        return f'{item.name} = "<secret>"'
    return f"{item.name} = {_toml(value)}"


def _toml(value: object) -> str:
    """A TOML value; its strings, numbers and lists are written as JSON writes them."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


# --- files -------------------------------------------------------------------------------------


def read_document(path: str) -> dict[str, Any]:
    """A TOML, JSON or YAML file, told apart by its name.

    Raises:
        ConfigError: It cannot be read, is not valid, or needs a library that is not there.
    """
    readers = {".toml": _read_toml, ".json": _read_json, ".yaml": _read_yaml, ".yml": _read_yaml}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        message = f"{path}: the name must end in one of {', '.join(readers)}"
        raise ConfigError(message)
    try:
        document = reader(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path}: {error}"
        raise ConfigError(message) from None
    if not isinstance(document, dict):
        message = f"{path}: must hold a table of settings"
        raise ConfigError(message)
    return document


def _read_toml(text: str) -> object:
    import tomllib  # needed only where there is a file

    return tomllib.loads(text)


def _read_json(text: str) -> object:
    return json.loads(text)


def _read_yaml(text: str) -> object:
    try:
        yaml = import_module("yaml")  # not a dependency: whoever has YAML files has PyYAML
    except ImportError:
        message = "a YAML file needs PyYAML; TOML and JSON need nothing"
        raise ValueError(message) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def section(document: Mapping[str, Any], name: str, known: Iterable[str]) -> dict[str, object]:
    """One table of a file; a key that no setting has is an error, not a wish ignored."""
    table = document.get(name, {})
    if not isinstance(table, dict):
        message = f"[{name}] must be a table"
        raise ConfigError(message)
    names = sorted(known)
    for key in table:
        if key not in names:
            message = f"[{name}] has no setting {key!r}; known are {', '.join(names)}"
            raise ConfigError(message)
    return table


# --- what scripts say --------------------------------------------------------------------------


def write_line(stream: IO[str], program: str, text: str) -> None:
    """A diagnostic; a stream that nobody reads any more is no reason to fail."""
    try:
        stream.write(f"{program}: {text}\n")
        stream.flush()
    except (OSError, ValueError):
        return


def leave_standard_output() -> None:
    """Nobody reads it any more: what the interpreter flushes at exit must not raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def print_all(lines: Iterable[str]) -> None:
    """Lines for standard output; whoever reads it may have seen enough (``| head -1``)."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        leave_standard_output()


def numbers_of(stats: object, names: Mapping[str, str]) -> dict[str, object]:
    """The counters that a summary shows.

    Args:
        stats: A frozen dataclass of counters, as `stats_json` shows all of it.
        names: The words of the summary, each with the counter's name.
    """
    return {words: getattr(stats, name) for words, name in names.items()}


def summary_text(numbers: Mapping[str, object]) -> str:
    """Names and numbers on one line, each sum with its parts behind it."""
    return ", ".join(f"{name} {_number_text(value)}" for name, value in numbers.items())


def _number_text(value: object) -> str:
    if isinstance(value, Mapping):
        parts = ", ".join(f"{key} {count}" for key, count in value.items() if count)
        return f"{sum(value.values())} ({parts})" if parts else "0"
    if isinstance(value, Distribution):
        return f"p50 {value.p50:.4g} p95 {value.p95:.4g}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return "unknown" if value is None else str(value)


def stats_json(stats: object) -> str:
    """A frozen dataclass of counters as one line of JSON."""

    def plain(value: object) -> object:
        if hasattr(value, "__dataclass_fields__"):
            return {name: plain(one) for name, one in values_of(value).items()}
        if isinstance(value, Mapping):
            return {str(key): plain(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return value

    return json.dumps(plain(stats))


def known_names(classes: Sequence[type]) -> list[str]:
    """The settings of several config classes."""
    return [item.name for each in classes for item in settings_of(each)]
