"""The fixed list of types, beside those of JSON, whose values arrive as what they were.

Each has a tag, a function that takes a value apart into what JSON has types for, and one that puts
it together again and checks what it is given. Only types of the standard library stand here. A
type is imported when a value of it is met; on the near side its module is loaded already.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, timezone
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BY_TAG", "Leaf", "leaf_of", "with_fixed_offset"]

MAX_EXPONENT = 300
"""Of a Decimal: written out in full it has about so many digits."""
MAX_BITS = 996
"""Of a whole number inside: at most 300 digits."""
SHORT = 64
"""Characters of a date, of a zone's name and the like."""
MAX_DECIMAL = 1_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """A type whose values have no parts that are values of the user's."""

    tag: str
    module: str
    name: str
    take_apart: Callable[[Any], list[Any]]
    """Return the parts of an exact value; raises `ValueError` where it cannot travel."""
    put_together: Callable[..., Any]
    """Make a value of the type and the parts; raises whatever a constructor raises."""

    def load(self, parts: list[Any]) -> Any:
        """Return the value with these parts, which may be anything."""
        return self.put_together(_resolve(self.module, self.name), *parts)

    def is_type_of(self, kind: type) -> bool:
        """Whether `kind` is the type itself."""
        module = _module_of(kind)
        if type(module) is not str or module.partition(".")[0] != self.module:
            return False
        return kind is _resolve(self.module, self.name)


# past what a metaclass may have put in its place
_module_of: Callable[[type], object] = type.__dict__["__module__"].__get__
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__


@cache
def _resolve(module: str, name: str) -> type:
    """Return a type of the list; no other name gets here."""
    return getattr(import_module(module), name)  # type: ignore[no-any-return]  # a type of the list


def leaf_of(kind: type) -> Leaf | None:
    """Return the entry of the list for this exact type; None: there is none."""
    leaf = _BY_NAME.get(str.__str__(_name_of(kind)))
    return leaf if leaf is not None and leaf.is_type_of(kind) else None


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


def _text(value: object, longest: int | None = None) -> str:
    """Return an exact text that is short enough and that every constructor takes."""
    if type(value) is not str or "\0" in value or (longest and len(value) > longest):
        raise ValueError
    return value


def _check_integers(parts: tuple[object, ...]) -> None:
    for part in parts:
        if type(part) is not int or part.bit_length() > MAX_BITS:
            raise ValueError


# Dates and times


def with_fixed_offset(value: Any) -> Any:
    """Return a datetime or time whose zone is a `datetime.timezone`; code of the zone runs."""
    zone = value.tzinfo
    if zone is None or type(zone) is timezone:
        return value
    offset, name = value.utcoffset(), value.tzname()
    return value.replace(tzinfo=None if offset is None else timezone(offset, str(name)))


def _take_moment_apart(value: Any) -> list[Any]:
    zone = value.tzinfo
    _require(zone is None or type(zone) is timezone)
    name = None if zone is None or zone is UTC else (*zone.__getinitargs__(), None)[1]
    if value.fold:
        return [value.isoformat(), name, 1]
    return [value.isoformat(), name] if name is not None else [value.isoformat()]


def _make_moment(kind: Any, text: str, name: str | None = None, fold: int = 0) -> Any:
    moment = kind.fromisoformat(_text(text, SHORT))
    if name is not None:
        moment = moment.replace(tzinfo=timezone(moment.utcoffset(), _text(name, SHORT)))
    return moment.replace(fold=1) if fold else moment


def _make_date(kind: Any, text: str) -> Any:
    return kind.fromisoformat(_text(text, SHORT))


def _isoformat(value: Any) -> list[Any]:
    return [value.isoformat()]


def _days_and_seconds(value: Any) -> list[Any]:
    return [value.days, value.seconds, value.microseconds]


# Numbers


def _make_from_integers(kind: Any, *parts: int) -> Any:
    _check_integers(parts)
    return kind(*parts)


def _numerator_and_denominator(value: Any) -> list[Any]:
    return [value.numerator, value.denominator]


def _bounds(value: Any) -> list[Any]:
    return [value.start, value.stop, value.step]


def _check_decimal(value: Any) -> None:
    """Refuse what has no bounded text, and the signalling NaN, which raises when compared."""
    exponent = value.as_tuple().exponent
    if type(exponent) is int:
        _require(abs(exponent) <= MAX_EXPONENT and abs(value.adjusted()) <= MAX_EXPONENT)
    else:
        _require(exponent != "N")


def _decimal_text(value: Any) -> list[Any]:
    _check_decimal(value)
    return [str(value)]


def _make_decimal(kind: Any, text: str) -> Any:
    value = kind(_text(text, MAX_DECIMAL))
    _check_decimal(value)
    return value


def _real_and_imaginary(value: Any) -> list[Any]:
    return [repr(value.real), repr(value.imag)]


def _make_complex(kind: Any, real: str, imaginary: str) -> Any:
    return kind(float(_text(real, SHORT)), float(_text(imaginary, SHORT)))


# Bytes, and what is made of its text


def _base64(value: Any) -> list[Any]:
    return [b64encode(value).decode()]


def _make_bytes(kind: Any, text: str) -> Any:
    return kind(b64decode(_text(text), validate=True))


def _hexadecimal(value: Any) -> list[Any]:
    _check_integers((value.int,))
    return [f"{value.int:032x}"]


def _own_text(value: Any) -> list[Any]:
    return [str(value)]


def _make_from_text(kind: Any, text: str) -> Any:
    return kind(_text(text))


def _make_address(kind: Any, text: str) -> Any:
    return kind(_text(text, SHORT))


def _make_path(kind: Any, text: str) -> Any:
    """Return a path, without the methods that read files where the system is another."""
    try:
        return kind(_text(text))
    except NotImplementedError:
        return _resolve("pathlib", f"Pure{kind.__name__}")(text)


_LEAVES = [
    Leaf("datetime", "datetime", "datetime", _take_moment_apart, _make_moment),
    Leaf("date", "datetime", "date", _isoformat, _make_date),
    Leaf("time", "datetime", "time", _take_moment_apart, _make_moment),
    Leaf("timedelta", "datetime", "timedelta", _days_and_seconds, _make_from_integers),
    Leaf("decimal", "decimal", "Decimal", _decimal_text, _make_decimal),
    Leaf("fraction", "fractions", "Fraction", _numerator_and_denominator, _make_from_integers),
    Leaf("complex", "builtins", "complex", _real_and_imaginary, _make_complex),
    Leaf("range", "builtins", "range", _bounds, _make_from_integers),
    Leaf("bytes", "builtins", "bytes", _base64, _make_bytes),
    Leaf("bytearray", "builtins", "bytearray", _base64, _make_bytes),
    Leaf("uuid", "uuid", "UUID", _hexadecimal, _make_address),
    Leaf("ip4", "ipaddress", "IPv4Address", _own_text, _make_address),
    Leaf("ip6", "ipaddress", "IPv6Address", _own_text, _make_address),
    Leaf("pureposixpath", "pathlib", "PurePosixPath", _own_text, _make_from_text),
    Leaf("purewindowspath", "pathlib", "PureWindowsPath", _own_text, _make_from_text),
    Leaf("posixpath", "pathlib", "PosixPath", _own_text, _make_path),
    Leaf("windowspath", "pathlib", "WindowsPath", _own_text, _make_path),
]
BY_TAG = {leaf.tag: leaf for leaf in _LEAVES}
_BY_NAME = {leaf.name: leaf for leaf in _LEAVES}
