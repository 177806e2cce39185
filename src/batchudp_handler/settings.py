"""The settings: what each may hold, and the names by which it is given.

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
import operator
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from batchudp_handler.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

ENVIRONMENT_PREFIX = "BATCHUDP_"

C = TypeVar("C")

MANY = 1_000_000_000
"""More records than any memory holds: the bound of settings that count them."""
LOWEST_RATE, HIGHEST_RATE = 0.001, 1_000_000_000.0
"""Per second. A lower one is no rate but a stop, and above a thousand millions nothing is held."""
SHOWN_CHARACTERS = 120
"""Of a value that was refused."""
HIGHEST_LEVEL = 2**63 - 1
"""`sys.maxsize` on most machines, which programs use for "none at all"."""


# --- kinds of values ---------------------------------------------------------------------------


class Kind(NamedTuple):
    """What a setting may hold: the words for the reader and the conversion for the program."""

    allowed: str
    convert: Callable[[Any], object]
    metavar: str
    choices: tuple[str, ...] = ()
    is_switch: bool = False
    is_list: bool = False
    edges: tuple[object, ...] = ()
    """The values at the ends of what is allowed, for tests that try them."""


def optional(kind: Kind) -> Kind:
    """The same kind, or None; as text also ``none``."""

    def convert(value: object) -> object:
        if value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"}):
            return None
        return kind.convert(value)

    edges = (*kind.edges, None)
    return Kind(f"{kind.allowed}, or None", convert, kind.metavar, kind.choices, edges=edges)


def _number(value: object) -> Any:
    """What a value is as a number, exactly.

    A number is an `int` or a `float`, or what Python's own `numbers` counts as one, as `Decimal`,
    `Fraction` and the scalars of numpy are. A truth value is none, nor are bytes, nor a time with
    a unit of its own (`timedelta`, `numpy.timedelta64`). Text is read as Python reads it, so
    spaces around it and underscores in it are fine, and units are not.
    """
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, (int, float)):
        return value
    from numbers import Integral, Number  # few programs give anything else

    if not isinstance(value, Number):
        raise TypeError
    return operator.index(cast("SupportsIndex", value)) if isinstance(value, Integral) else value


def integer(low: int, high: int, metavar: str = "N") -> Kind:
    """A whole number in a span; a fraction is refused, never rounded."""

    def convert(value: object) -> int:
        number = int(value) if isinstance(value, str) else _number(value)
        # compared before it is converted: 10**9 digits are as easily said as three
        if not low <= number <= high or int(number) != number:
            raise ValueError
        return int(number)

    words = f"a whole number from {low} to {high}"
    return Kind(words, convert, metavar, edges=(low, high))


def _finite(value: object) -> float:
    number = float(value if isinstance(value, str) else _number(value))
    if not math.isfinite(number):
        raise ValueError
    return number + 0.0  # -0.0 is 0.0


def seconds(*, zero: bool, low: float = 0.0) -> Kind:
    """A time of at least `low`, in which 0 may have a meaning; none is too long (see `waits`)."""

    def convert(value: object) -> float:
        number = _finite(value)
        if not (number > 0 and number >= low) and not (zero and number == 0):
            raise ValueError
        return number

    least = f"of at least {low:g}" if low else ("of at least 0" if zero else "above 0")
    words = f"{'0, or ' if zero and low else ''}a finite number {least}"
    smallest = low or math.ulp(0.0)
    edges = (*([0.0] if zero else []), smallest, sys.float_info.max)
    return Kind(words, convert, "SECONDS", edges=edges)


def rate(*, zero: bool) -> Kind:
    """A number per second, in which 0 may stand for something of its own."""

    def convert(value: object) -> float:
        number = _finite(value)
        if not (LOWEST_RATE <= number <= HIGHEST_RATE or (zero and number == 0)):
            raise ValueError
        return number

    span = f"from {LOWEST_RATE:g} to {HIGHEST_RATE:.0f}"
    words = f"{'0, or ' if zero else ''}a number {span}"
    edges = (*([0.0] if zero else []), LOWEST_RATE, HIGHEST_RATE)
    return Kind(words, convert, "RATE", edges=edges)


def timeout(value: object, name: str = "timeout") -> float | None:
    """The `timeout` of a method: seconds, infinity included, or None; below 0 is 0.

    Raises:
        ConfigError: It is no number, or not one at all (NaN); a ``ValueError``.
    """
    if value is None:
        return None
    try:
        number = float(value if isinstance(value, str) else _number(value))
        if math.isnan(number):
            raise ValueError
    except Exception:  # noqa: BLE001  # whatever an object answers that is asked for a number
        message = (
            f"{name} must be a number of seconds (inf: without end) or None, not {_shown(value)}"
        )
        raise ConfigError(message) from None
    return max(number, 0.0)


def choice(*choices: str) -> Kind:
    """One of several words."""

    def convert(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        return choices[choices.index(value)]

    words = " or ".join(repr(choice) for choice in choices)
    return Kind(words, convert, "|".join(choices), choices, edges=choices)


def word_or_seconds(*words: str) -> Kind:
    """One of several words, or a time above 0."""
    time = seconds(zero=False)

    def convert(value: object) -> object:
        return value if isinstance(value, str) and value in words else time.convert(value)

    allowed = f"{', '.join(map(repr, words))} or {time.allowed}"
    return Kind(allowed, convert, "|".join([*words, time.metavar]), words)


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


_LEVEL_NUMBER = integer(0, HIGHEST_LEVEL)


def _convert_level(value: object) -> int:
    """A level number, or a name that ``logging`` knows at this moment."""
    if isinstance(value, str) and not value.strip().isdigit():
        name = value.strip()
        known = logging.getLevelNamesMapping()
        value = known[name] if name in known else known[name.upper()]
    return cast("int", _LEVEL_NUMBER.convert(value))


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
    # raises for what JSON cannot hold; and what is nested must not change later
    return cast("dict[str, object]", json.loads(json.dumps(copy, allow_nan=False)))


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
SWITCH = Kind("true or false", _convert_switch, "", is_switch=True, edges=(True, False))
TEXT = Kind("text", _convert_text, "TEXT")
PATH = Kind("a path", _convert_path, "PATH")
LEVEL = Kind(
    f"a level number from 0 to {HIGHEST_LEVEL}, or the name of a level",
    _convert_level,
    "LEVEL",
    edges=_LEVEL_NUMBER.edges,
)
FIELDS = Kind(
    "a mapping of names to JSON values, or text like 'service=web,zone=b'",
    _convert_fields,
    "NAME=VALUE,...",
)
NETWORK = Kind("a network", _convert_network, "NETWORK")
NETWORKS = _list_of(NETWORK, "networks such as '10.0.0.0/8', with commas between them")
PATHS = _list_of(PATH, "paths, with commas between them")


def _shown(value: object) -> str:
    """A value in an error text; some cannot be shown, and some should not be in full."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a number of over 4,300 digits, or an object of the user's
        return f"this {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


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
        except Exception:  # noqa: BLE001  # whatever an object answers that is asked to convert itself
            shown = "the value given" if self.secret else _shown(value)
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
