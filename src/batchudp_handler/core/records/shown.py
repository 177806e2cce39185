"""Values that print as the objects they stand for.

An enum member, a dataclass or any other object of the user's arrives as a value of a standard
type. Formatters may treat it as that value, as JSON encoders do; where they ask for its text, with
`%s` or `%r`, they get the text of the original.

Pickled, such a value becomes the plain one, because who unpickles it need not have this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "SHOWN",
    "base_value",
    "can_be_shown",
    "items_of",
    "ordered",
    "representation",
    "shown",
    "text",
]


class _Shown:
    """Behaviour of all shown values."""

    _base: type
    _text: str
    _representation: str

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._representation

    def __format__(self, spec: str) -> str:
        return format(base_value(self), spec) if spec else self._text

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[type, tuple[Any]]:
        return self._base, (base_value(self),)


class _Text(_Shown, str):
    """The text of an object, or the text that an enum member stands for."""

    _base = str
    __hash__ = str.__hash__


class _Integer(_Shown, int):
    _base = int
    __hash__ = int.__hash__


class _Float(_Shown, float):
    _base = float
    __hash__ = float.__hash__


class _Dict(_Shown, dict[Any, Any]):
    _base = dict


class _List(_Shown, list[Any]):
    _base = list


class _Tuple(_Shown, tuple[Any, ...]):
    _base = tuple
    __hash__ = tuple.__hash__


class _Set(_Shown, set[Any]):
    """A set with its own texts, or in the order in which the near side printed it."""

    _base = set
    items: Sequence[Any] | None = None


class _FrozenSet(_Shown, frozenset[Any]):
    _base = frozenset
    __hash__ = frozenset.__hash__
    items: Sequence[Any] | None = None


_KINDS: dict[type, Callable[[Any], Any]] = {
    kind._base: kind  # of this file
    for kind in (_Text, _Integer, _Float, _Dict, _List, _Tuple, _Set, _FrozenSet)
}
SHOWN = frozenset(_KINDS.values())
"""The exact types of shown values."""


def can_be_shown(value: Any) -> bool:
    """Whether `shown` takes a value of this type."""
    return type(value) in _KINDS


def shown(value: Any, text: str, representation: str) -> Any:
    """Return a value equal to `value` that prints as `text` and `representation`.

    Args:
        value: A value of exactly one of the types `str`, `int`, `float`, `dict`, `list`, `tuple`,
            `set` and `frozenset`.
        text: The result of `str()`.
        representation: The result of `repr()`.
    """
    made = _KINDS[type(value)](value)
    made._text = text  # of this file
    made._representation = representation  # of this file
    return made


def ordered(kind: type, items: Sequence[Any]) -> Any:
    """Return a `set` or `frozenset` of the items that prints them in this order.

    The order of a set depends on its history and, for texts, on the process. Where the order is
    the given one anyway the result is of exactly the type `kind`.
    """
    plain = kind(items)
    if list(plain) == list(items):
        return plain
    inside = ", ".join(map(repr, dict.fromkeys(items)))
    text = f"{{{inside}}}" if kind is set else f"{kind.__name__}({{{inside}}})"
    made = shown(plain, text, text)
    made.items = tuple(items)
    return made


def base_value(value: Any) -> Any:
    """Return the plain value of a shown one."""
    base = value._base  # of this file
    if base is str:
        return str.__getnewargs__(value)[0]
    if base is int:
        return int.__int__(value)
    return float.__float__(value) if base is float else base(_elements(value, base))


def _elements(value: Any, base: type) -> Any:
    return dict.items(value) if base is dict else items_of(value) or value


def items_of(value: Any) -> Sequence[Any] | None:
    """Return the items of a set in the order in which it prints them; None for anything else."""
    return getattr(value, "items", None) if isinstance(value, (set, frozenset)) else None


def text(value: Any) -> str:
    """Return what a shown value prints with `%s`."""
    return value._text  # type: ignore[no-any-return]  # of this file


def representation(value: Any) -> str:
    """Return what a shown value prints with `%r`."""
    return value._representation  # type: ignore[no-any-return]  # of this file
