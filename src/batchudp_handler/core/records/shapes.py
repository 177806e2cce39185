"""Messages that are structures, and arguments that are a mapping.

Most are small and of JSON's types alone. Such a one is copied on the thread that logs, which takes
less time than its text does, and its text is made on the thread that sends.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from batchudp_handler.core.records.kept import Typed, json_safe, keep_whole
from batchudp_handler.core.records.safe import TEXT_CHARACTERS, contained, guarded
from batchudp_handler.core.records.template import MAX_SHAPED, SCALARS, fallback_text
from batchudp_handler.core.records.weight import LIGHT

__all__ = ["light_shape", "message_shape", "with_text"]

LIGHT_ITEMS = 64
"""Items of a structure that is small, those of inner ones too."""
_MAPPING_KEY = re.compile(r"%\(([^()]*)\)")


def light_shape(message: Any, args: Any) -> tuple[Any, Any] | None:
    """Return copies of a message and its arguments, if they are a small plain structure."""
    if args is None or (type(args) is tuple and not args):
        copy = _light_copy(message, [LIGHT_ITEMS])
        return None if copy is None else (copy, ())
    if type(args) is not dict or not args or type(message) is not str or len(message) > LIGHT:
        return None
    copy = _light_copy(args, [LIGHT_ITEMS])
    return None if copy is None else (message, copy)


def _light_copy(value: Any, room: list[int]) -> Any:
    """Return a copy of a dict or list; None for more than `room`, or for other types in it."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return None
    copy = value.copy()
    room[0] -= len(copy) + 1
    if room[0] < 0 or (kind is dict and not _has_light_keys(copy)):
        return None
    for key, item in copy.items() if kind is dict else enumerate(copy):
        kind = type(item)
        if kind is str:
            if len(item) > LIGHT:
                return None
        elif kind is dict or kind is list:
            inner = _light_copy(item, room)
            if inner is None:
                return None
            copy[key] = inner
        elif kind not in SCALARS:
            return None
    return copy


def _has_light_keys(copy: dict[Any, Any]) -> bool:
    for key in copy:  # noqa: SIM110  # a generator takes three times as long
        if type(key) is not str or len(key) > LIGHT:
            return False
    return True


def with_text(message: Any, args: Any) -> tuple[str, Typed]:
    """Return the text of a light shape, and the shape."""
    shape = Typed((message, args), 0)
    try:
        return message % args if args else str(message), shape
    except Exception:  # noqa: BLE001  # a format string that does not fit, or an endless number
        return fallback_text(guarded(str, message), json_safe(args)), shape


def message_shape(message: Any, args: Any) -> Typed | None:
    """Message and arguments as they are, where they are a plain structure; else None.

    A structure without arguments is a message by itself; a mapping may be the arguments of a
    format string. What had to be cut has no shape.
    """
    if issubclass(type(args), dict):
        if type(message) is not str or len(message) > MAX_SHAPED or not dict.__len__(args):
            return None
        return keep_whole((message, contained(partial(_named, message), args)), TEXT_CHARACTERS)
    if args is not None and (type(args) is not tuple or args):
        return None
    is_structure = issubclass(type(message), (dict, list, tuple, set, frozenset))
    return keep_whole((message, ()), TEXT_CHARACTERS) if is_structure else None


def _named(message: str, args: Any) -> dict[Any, Any]:
    """A dict with the items of `args`, and with what it gives for the names in the message.

    The class of the mapping may make up values, as gunicorn's does. Of its names in braces, which
    hold headers and variables of the environment, only those travel that the message shows.
    """
    if type(args) is dict:
        return args
    names = dict.fromkeys(_MAPPING_KEY.findall(message))
    given = {name: args[name] for name in names}
    items = dict.items(args)
    return {key: item for key, item in items if str(key)[:1] != "{"} | given
