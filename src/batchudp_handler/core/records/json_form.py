"""Kept values as those see them who read JSON.

Numbers stay numbers, sets and tuples become arrays, objects of which the fields are known become
objects; everything else becomes its text.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.shown import SHOWN, base_value, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.records.batch import JSON

__all__ = ["json_form"]

_AS_THEY_ARE = frozenset((str, int, bool, type(None)))
_ARRAYS = (list, tuple, set, frozenset)


def json_form(value: Any, text_of: Callable[[Any], str] = str) -> JSON:
    """Return the JSON value for a kept value.

    Args:
        value: What `kept.keep` made, or what it became on its way.
        text_of: Makes the text of a date, a `Decimal` and the like.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value  # type: ignore[no-any-return]  # one of these
    if kind is float:
        return value if isfinite(value) else repr(value)
    if kind in SHOWN:
        return _shown_form(value, text_of)
    if kind is dict:
        return _object(value, text_of)
    if kind in _ARRAYS:
        return [json_form(item, text_of) for item in value]
    return repr(value) if kind is bytes or kind is bytearray else text_of(value)


def _shown_form(value: Any, text_of: Callable[[Any], str]) -> JSON:
    content = base_value(value)
    if isinstance(content, (dict, *_ARRAYS)):
        return json_form(content, text_of)
    # an `IntEnum` and the like, which prints as its number, is one
    return json_form(content) if text(value) == str(content) else text(value)


def _object(value: dict[Any, Any], text_of: Callable[[Any], str]) -> dict[str, JSON]:
    """Return an object in which no two keys have become one."""
    members: dict[str, JSON] = {}
    texts = {key for key in value if type(key) is str}
    for key, item in value.items():
        name = key if type(key) is str else str(key)
        while type(key) is not str and (name in texts or name in members):
            name += "_"
        members[name] = json_form(item, text_of)
    return members
