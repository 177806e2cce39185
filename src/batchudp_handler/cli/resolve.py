"""The settings of a script, each from the first place that has it.

Each setting comes from the first of these that has it: a flag, ``BATCHUDP_X``, the plain ``X``
where there is one, a file, the default. ``resolve`` keeps with every value where it came from, so
that ``print-config`` can say it and an error can be blamed on the right place: a wrong flag is a
wrong usage (64), anything else a wrong configuration (78).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from batchudp_handler.cli.parser import UsageError
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.settings import Setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Origin",
    "as_config",
    "config_text",
    "known_names",
    "read_document",
    "resolve",
    "section",
]

C = TypeVar("C")

DEFAULT = "default"


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
    """Return the value of every setting, converted, and where it came from.

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
    """Return the config of those values, and check those that depend on each other."""
    return config_class(**{item.name: resolved[item.name].value for item in fields(config_class)})  # type: ignore[arg-type]  # a dataclass


def config_text(title: str, config_class: type, resolved: Mapping[str, Origin]) -> str:
    """Return the settings as a TOML table, each with its origin; secrets are not shown."""
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
    """Return a TOML value; its strings, numbers and lists are written as JSON writes them."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


# --- files -------------------------------------------------------------------------------------


def read_document(path: str) -> dict[str, Any]:
    """Read a TOML, JSON or YAML file, told apart by its name.

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
        yaml = import_module("yaml")  # not a dependency: users of YAML files have PyYAML
    except ImportError:
        message = "a YAML file needs PyYAML; TOML and JSON need nothing"
        raise ValueError(message) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def section(document: Mapping[str, Any], name: str, known: Iterable[str]) -> dict[str, object]:
    """Return one table of a file; a key that no setting has is an error."""
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


def known_names(classes: Sequence[type]) -> list[str]:
    """Return the names of the settings of several config classes."""
    return [item.name for each in classes for item in settings_of(each)]
