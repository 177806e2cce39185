"""A pattern for lines, checked before the first record comes.

What no record could ever fit is refused. A name that is no attribute of every record may be that
of an extra, which some records have; one that resembles an attribute is pointed out.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from batchudp_handler.core.errors import ConfigError

__all__ = ["check_pattern"]

_CONVERSION = re.compile(
    r"%%|%\((?P<name>[^()]*)\)(?P<form>[-#0 +]*\d{0,4}(?:\.\d{0,4})?[hlL]?[diouxXeEfFgGcrsa])"
)

_TEXTS = (
    *("name", "levelname", "pathname", "filename", "module", "funcName", "threadName"),
    *("processName", "message", "asctime", "hostname", "remote_addr", "taskName", "msg"),
)
_NUMBERS = ("levelno", "lineno", "thread", "process", "hops")
_FRACTIONS = ("created", "msecs", "relativeCreated", "received")
_ATTRIBUTES: dict[str, object] = {
    **dict.fromkeys(_TEXTS, "some text"),
    **dict.fromkeys(_NUMBERS, 1),
    **dict.fromkeys(_FRACTIONS, 1.5),
    "authenticated": True,
    **dict.fromkeys(("args", "exc_info", "exc_text", "stack_info"), "-"),
}
"""What every record has, and a value of its type."""


def check_pattern(pattern: str) -> list[str]:
    """Refuse what can never be printed, and return in words what else may be a mistake.

    Raises:
        ConfigError: The text shows the place.
    """
    warnings = []
    end = 0
    for found in _CONVERSION.finditer(pattern):
        _check_between(pattern[end : found.start()])
        end = found.end()
        if found["name"] is not None:
            warnings += _check_conversion(found[0], found["name"], found["form"])
    _check_between(pattern[end:])
    return warnings


def _check_between(text: str) -> None:
    place = text.find("%")
    if place >= 0:
        message = (
            f"pattern: {text[place : place + 20]!r} cannot be printed; "
            "write %(name)s for an attribute, with a width of at most four digits, and %% for %"
        )
        raise ConfigError(message)


def _check_conversion(whole: str, name: str, form: str) -> list[str]:
    if name not in _ATTRIBUTES:
        like = get_close_matches(name, _ATTRIBUTES, n=1, cutoff=0.8)
        words = (
            f"pattern: not every record has {name!r}; did you mean {like[0]!r}?" if like else ""
        )
        return [words] if like else []
    try:
        ("%" + form) % (_ATTRIBUTES[name],)
    except (TypeError, ValueError, OverflowError):
        message = f"pattern: {whole} cannot be printed: {name} is no value for %{form[-1]}"
        raise ConfigError(message) from None
    return []
