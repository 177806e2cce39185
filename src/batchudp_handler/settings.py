"""What may a setting hold, and by which names is it given?

A config class declares each field once with ``setting(...)``. That declaration feeds everything
else: the keyword of the constructor, the environment names, the flag and its help, the key of
the TOML file, the documentation and ``.env.example``. ``settings_of(HandlerConfig)`` is the table.

A value may arrive as its own type or as text (``"9999"``, ``"true"``, ``"WARNING"``), so that a
dictConfig entry, an environment variable and a flag all take the same path.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT_PREFIX = "BATCHUDP_"

C = TypeVar("C")


# --- kinds of values ---------------------------------------------------------------------------


class Kind(NamedTuple):
    """What a setting may hold: the words for the reader and the conversion for the program."""

    allowed: str
    convert: Callable[[Any], object]
    metavar: str
    choices: tuple[str, ...] = ()
    is_switch: bool = False
    is_list: bool = False


def optional(kind: Kind) -> Kind:
    """The same kind, or None; as text also ``none``."""

    def convert(value: object) -> object:
        if value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"}):
            return None
        return kind.convert(value)

    return Kind(f"{kind.allowed}, or None", convert, kind.metavar, kind.choices)


def integer(low: int, high: int | None = None, metavar: str = "N") -> Kind:
    """A whole number in a span; text and underscores are fine, fractions are not."""

    def convert(value: object) -> int:
        if isinstance(value, (bool, float)):
            raise TypeError
        number = int(value)  # type: ignore[call-overload]  # int() itself refuses what it cannot take
        if number < low or (high is not None and number > high):
            raise ValueError
        return int(number)

    span = f"of at least {low}" if high is None else f"from {low} to {high}"
    return Kind(f"a whole number {span}", convert, metavar)


def seconds(*, zero: bool) -> Kind:
    """A time, in which 0 may be refused."""

    def convert(value: object) -> float:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]  # float() itself refuses what it cannot take
        if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
            raise ValueError
        return number

    words = "a number of at least 0" if zero else "a number above 0"
    return Kind(words, convert, "SECONDS")


def rate(*, zero: bool) -> Kind:
    """A number per second, in which 0 may be refused."""
    return Kind(seconds(zero=zero).allowed, seconds(zero=zero).convert, "RATE")


def choice(*choices: str) -> Kind:
    """One of several words."""

    def convert(value: object) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    words = " or ".join(repr(choice) for choice in choices)
    return Kind(words, convert, "|".join(choices), choices)


def _convert_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("1", "true", "yes", "on", 1):
        return True
    if word in ("0", "false", "no", "off", 0):
        return False
    raise ValueError


def _convert_text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError
    return value


def _convert_path(value: object) -> str:
    path = value.__fspath__() if hasattr(value, "__fspath__") else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError
    return path


def _convert_host(value: object) -> str:
    host = _convert_text(value)
    if not host or any(character.isspace() for character in host):
        raise ValueError
    return host


def _convert_level(value: object) -> int:
    """A level number, or a name that ``logging`` knows at this moment."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str) and not value.strip().isdigit():
        name = value.strip()
        known = logging.getLevelNamesMapping()
        return known[name] if name in known else known[name.upper()]
    number = int(value)  # type: ignore[call-overload]  # int() itself refuses what it cannot take
    if isinstance(value, float) or number < 0:
        raise ValueError
    return int(number)


_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def _convert_fields(value: object) -> dict[str, object]:
    """A mapping, a JSON object as text, or ``name=value,name=value``."""
    if value is None:
        return {}
    if isinstance(value, str):
        value = _fields_from_text(value)
    if not isinstance(value, Mapping):
        raise TypeError
    copy = dict(value)
    if not all(isinstance(name, str) and _FIELD_NAME.fullmatch(name) for name in copy):
        raise ValueError
    json.dumps(copy, allow_nan=False)  # raises TypeError or ValueError for what JSON cannot hold
    return copy


def _fields_from_text(text: str) -> object:
    text = text.strip()
    if text.startswith("{"):
        return json.loads(text)
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError
    return {name.strip(): value.strip() for name, _, value in pairs}


def _list_of(item: Kind, words: str) -> Kind:
    """Several values: a sequence, or text with commas between them."""

    def convert(value: object) -> tuple[object, ...]:
        if value is None:
            return ()
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        elif hasattr(value, "__fspath__"):
            value = [value]
        if not isinstance(value, Sequence):
            raise TypeError
        return tuple(item.convert(part) for part in value)

    return Kind(words, convert, item.metavar, is_list=True)


def _convert_network(value: object) -> str:
    import ipaddress  # 4 ms that only a receiver with an allow-list should pay

    return str(ipaddress.ip_network(_convert_text(value), strict=False))


HOST = Kind("a host name, an address, 'host:port' or 'unix:///path'", _convert_host, "HOST")
SWITCH = Kind("true or false", _convert_switch, "", is_switch=True)
TEXT = Kind("text", _convert_text, "TEXT")
PATH = Kind("a path", _convert_path, "PATH")
LEVEL = Kind("a level number or the name of a level", _convert_level, "LEVEL")
FIELDS = Kind(
    "a mapping of names to JSON values, or text like 'service=web,zone=b'",
    _convert_fields,
    "NAME=VALUE,...",
)
NETWORK = Kind("a network", _convert_network, "NETWORK")
NETWORKS = _list_of(NETWORK, "networks such as '10.0.0.0/8', with commas between them")
PATHS = _list_of(PATH, "paths, with commas between them")


# --- the table ---------------------------------------------------------------------------------


class Setting(NamedTuple):
    """One setting: its names in every place where it can be given."""

    name: str
    """Keyword of the constructor, attribute of the config, key in a TOML file."""
    variable: str
    """Environment name without the prefix."""
    flags: tuple[str, ...]
    default: object
    kind: Kind
    help: str
    plain: bool
    """The environment name counts without the prefix, too."""
    secret: bool
    """Never shown; may also come from the file that ``<variable>_FILE`` names."""

    @property
    def environment_names(self) -> tuple[str, ...]:
        """The names to look for, the one that wins first."""
        prefixed = ENVIRONMENT_PREFIX + self.variable
        return (prefixed, self.variable) if self.plain else (prefixed,)

    def convert(self, value: object) -> object:
        """The value in its own type; ``ConfigError`` says what is allowed."""
        try:
            return self.kind.convert(value)
        except (ValueError, TypeError, KeyError, OverflowError):
            shown = "the value given" if self.secret else repr(value)
            message = f"{self.name} must be {self.kind.allowed}, not {shown}"
            raise ConfigError(message) from None


def setting(
    default: object,
    kind: Kind,
    text: str,
    *,
    variable: str = "",
    flags: str = "",
    plain: bool = False,
    secret: bool = False,
) -> Any:
    """Declare a field of a config class; names left out follow from the field's name."""
    metadata = {
        "kind": kind,
        "help": text,
        "variable": variable,
        "flags": tuple(flags.split()),
        "plain": plain,
        "secret": secret,
    }
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata, repr=not secret)


def settings_of(config_class: type) -> tuple[Setting, ...]:
    """The table of one config class, in the order of its fields."""
    return tuple(
        Setting(
            name=item.name,
            variable=item.metadata["variable"] or item.name.upper(),
            flags=item.metadata["flags"] or ("--" + item.name.replace("_", "-"),),
            default={} if item.default is MISSING else item.default,
            kind=item.metadata["kind"],
            help=item.metadata["help"],
            plain=item.metadata["plain"],
            secret=item.metadata["secret"],
        )
        for item in fields(config_class)
    )


def from_environment(config_class: type, environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that the environment gives, as text; an empty variable counts as unset."""
    found = {}
    for item in settings_of(config_class):
        value = next((environ[name] for name in item.environment_names if environ.get(name)), None)
        if value is not None:
            found[item.name] = value
    return found


def convert_all(config: Any) -> None:
    """Put the converted values into a frozen config that is being made."""
    for item in settings_of(type(config)):
        object.__setattr__(config, item.name, item.convert(getattr(config, item.name)))


def config_from_mapping(config_class: type[C], values: Mapping[str, object]) -> C:
    """A config from keywords and values; an unknown name is a ``TypeError``."""
    known = {item.name for item in fields(config_class)}  # type: ignore[arg-type]  # a dataclass
    unknown = sorted(set(values) - known)
    if unknown:
        message = f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}"
        raise TypeError(message)
    return config_class(**values)


def values_of(config: Any) -> dict[str, object]:
    """The fields of a config as keywords and values."""
    return {item.name: getattr(config, item.name) for item in fields(config)}
