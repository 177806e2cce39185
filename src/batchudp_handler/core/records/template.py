"""The trial of a %-format string with its arguments, and what it prints.

A template from the network ends up in `LogRecord.msg`, and the first local handler runs
`msg % args` with it. So it must neither raise nor explode there:

* what it prints is bounded: no `*`, widths and precisions of at most three digits, and not more
  than `MAX_PADDING` of them together;
* it cannot raise: a trial rendering with one sample per argument type succeeds, and whether a
  conversion raises depends on nothing but the type. `%c` is the one for which that is not so
  (`'%c' % 1114112`), therefore `%c` is not portable. Numbers that are not finite or have more than
  300 digits are the other exception; the codec keeps them out of the arguments.

The sender asks `is_portable` too and ships the rendered text of all other templates, so nothing of
an honest sender is refused at the far side, except for arguments that do not fit their template
(which the near side could not have printed either).
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import NoneType
from typing import Any

__all__ = [
    "MAX_PADDING",
    "SCALARS",
    "fallback_text",
    "is_portable",
    "is_shaped",
    "is_trusted",
    "padding",
]

MAX_PADDING = 1_024
MAX_SHAPED = 1_024
"""Characters of a template whose arguments are a mapping."""
LARGEST_NUMBER = 1_024

SCALARS = frozenset((str, int, float, bool, NoneType))
"""The exact types of arguments that travel beside their template."""

_SAMPLES: dict[type, object] = {str: "x", int: 1, float: 1.5, bool: True, NoneType: None}

# one conversion as str.__mod__ reads it, up to its type; a mapping key ends the match early
_CONVERSION = re.compile(r"%(?:%|([^a-zA-Z%]*)[hlL]?(.))", re.DOTALL)
_MAPPING_KEY = re.compile(r"%\(([^()]*)\)")
_NUMBER = re.compile(r"[0-9]+")


def is_portable(template: str) -> bool:
    """Whether what `template` prints is bounded and its success depends on types alone."""
    return padding(template) is not None


@lru_cache(maxsize=4096)
def padding(template: str) -> int | None:
    """How many characters widths and precisions may add; None where that has no bound."""
    characters = 0
    for prefix, kind in _CONVERSION.findall(template):
        if kind == "c" or "*" in prefix or "(" in prefix:
            return None
        for number in _NUMBER.findall(prefix):
            if len(number) > 3:
                return None
            characters += int(number)
    return characters if characters <= MAX_PADDING else None


@lru_cache(maxsize=4096)
def is_trusted(template: str, types: tuple[type, ...]) -> bool:
    """Whether `template % args` works for every `args` of exactly these types.

    The cache is bounded, so that remote templates cannot grow it.
    """
    if not SCALARS.issuperset(types) or not is_portable(template):
        return False
    try:
        template % tuple([_SAMPLES[kind] for kind in types])
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def is_shaped(content: tuple[Any, Any], text: str) -> bool:
    """Whether a message and its arguments print exactly `text`, as they will in every handler.

    Args:
        content: A structure and `()`, or a template and a mapping; of kept values.
        text: What they are said to print, which bounds what is tried.
    """
    message, args = content
    if args == ():
        return type(message) is not str and str(message) == text
    if type(message) is not str or type(args) is not dict or not args:
        return False
    room = padding(_MAPPING_KEY.sub("%", message))
    if room is None or not _is_small(message, args, 2 * (room + len(text)) + LARGEST_NUMBER):
        return False
    try:
        return message % args == text
    except Exception:  # noqa: BLE001  # it does not fit; the text stands for it
        return False


def _is_small(message: str, args: dict[Any, Any], most: int) -> bool:
    """Whether the texts that the message asks for have at most so many characters together."""
    names = _MAPPING_KEY.findall(message)
    texts = [value for name in names if type(value := args.get(name)) is str]
    return len(message) <= MAX_SHAPED and sum(map(len, texts)) <= most


def fallback_text(template: str, args: object) -> str:
    """What is shown when `template % args` cannot be: both, as they are.

    Args:
        template: The format string.
        args: A tuple of scalars, or a text that stands for the arguments.
    """
    return f"{template} {args}"
