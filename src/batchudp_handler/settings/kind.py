"""The kind of a setting: the values that it may hold, in words and as a conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Kind", "optional", "shown"]

SHOWN_CHARACTERS = 120
"""How much of a refused value an error text quotes."""


class Kind(NamedTuple):
    """The values that a setting may hold."""

    allowed: str
    """The words for the reader."""
    convert: Callable[[Any], object]
    """Returns the value in its own type, or raises any exception."""
    metavar: str
    """The word for the value in the help of a command."""
    choices: tuple[str, ...] = ()
    is_switch: bool = False
    is_list: bool = False
    unit: str = ""
    """What a number counts, such as seconds or bytes."""
    edges: tuple[object, ...] = ()
    """The values at the ends of what is allowed, for tests that try them."""


def optional(kind: Kind) -> Kind:
    """Return the same kind with None added, which is ``none`` as text."""

    def convert(value: object) -> object:
        if value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"}):
            return None
        return kind.convert(value)

    allowed, edges = f"{kind.allowed}, or None", (*kind.edges, None)
    return kind._replace(allowed=allowed, convert=convert, edges=edges)


def shown(value: object) -> str:
    """Return a value as an error text quotes it; some cannot be shown, or only in part."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a number of over 4,300 digits, or an object of the user's
        return f"this {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
