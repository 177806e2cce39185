"""Words as values of settings: switches, choices, hosts, paths, networks, levels and fields."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import cast

from batchudp_handler.settings.kind import Kind
from batchudp_handler.settings.numbers import integer, seconds

__all__ = [
    "FIELDS",
    "HOST",
    "LEVEL",
    "NETWORKS",
    "PATH",
    "PATHS",
    "SWITCH",
    "TEXT",
    "choice",
    "word_or_seconds",
]

HIGHEST_LEVEL = 2**63 - 1
"""`sys.maxsize` on most machines, which programs use for "none at all"."""


def choice(*choices: str) -> Kind:
    """Return the kind of one of several words."""

    def convert(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        return choices[choices.index(value)]

    words = " or ".join(repr(choice) for choice in choices)
    return Kind(words, convert, "|".join(choices), choices, edges=choices)


def word_or_seconds(*words: str) -> Kind:
    """Return the kind of one of several words, or a time above 0."""
    time = seconds(zero=False)

    def convert(value: object) -> object:
        return value if isinstance(value, str) and value in words else time.convert(value)

    allowed = f"{', '.join(map(repr, words))} or {time.allowed}"
    metavar = "|".join([*words, time.metavar])
    return Kind(allowed, convert, metavar, words, unit=time.unit)


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
    """Return the number of a level, which may be given by a name that ``logging`` knows now."""
    if isinstance(value, str) and not value.strip().isdigit():
        name = value.strip()
        known = logging.getLevelNamesMapping()
        value = known[name] if name in known else known[name.upper()]
    return cast("int", _LEVEL_NUMBER.convert(value))


_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def _convert_fields(value: object) -> dict[str, object]:
    """Return the fields of a mapping, of a JSON object as text, or of ``name=value,...``."""
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
    """Return the kind of a sequence of values, or of text with commas between them."""

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
