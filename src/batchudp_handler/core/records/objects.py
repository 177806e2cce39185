"""The standard values that objects of the user's stand for.

An enum member stands for its value, a scalar of numpy for its item, an instance of a subclass for
what it is an instance of, and a dataclass, attrs class or pydantic model for its fields. What is
asked of a class is read from its own dictionaries, past what a metaclass may do.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.safe import contained, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["field_names", "is_of_numpy", "scalar_of", "texts"]

_mro_of: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_module_of: Callable[[type], object] = type.__dict__["__module__"].__get__
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_dict_of: Callable[[type], Any] = type.__dict__["__dict__"].__get__


def texts(value: Any) -> tuple[str, str]:
    """Return what `str` and `repr` give; the second is not asked for where it is the first."""
    text = guarded(str, value)
    own = _method(value, "__str__")
    is_one = own is object.__str__ or own is _method(value, "__repr__")
    return text, text if is_one else guarded(repr, value)


def _method(value: Any, name: str) -> object:
    """Return the function that a class or one of its bases has under a name."""
    dicts = map(_dict_of, _mro_of(type(value)))
    return next(each[name] for each in dicts if name in each)


def scalar_of(value: Any) -> Any:
    """Return the number, text or item that an object stands for; None: it stands for none."""
    return contained(_scalar_of, value)


def _scalar_of(value: Any) -> Any:
    kind = type(value)
    if issubclass(kind, Enum):
        content = value._value_  # what `value` returns, unless it is overridden
        return content if type(content) in {str, int, float} else None
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, str):
        content = str.__str__(value)
        return content if str(value) == content else None  # it may hide what it is
    return value.item() if is_of_numpy(value) else None


def is_of_numpy(value: Any) -> bool:
    """Return whether a value is a scalar of numpy."""
    return any(
        str.__str__(_name_of(base)) == "generic" and _module_of(base) == "numpy"
        for base in _mro_of(type(value))
    )


def field_names(kind: type) -> list[str]:
    """Return the names of the fields of a dataclass, an attrs class or a pydantic model."""
    return contained(_declared_names, kind) or []


def _declared_names(kind: type) -> list[str]:
    for attribute, names_of in _DECLARATIONS.items():
        for base in _mro_of(kind):
            declared = _dict_of(base).get(attribute)
            if declared:
                return [name for name in names_of(declared) if type(name) is str]
    return []


def _attrs_names(declared: Iterable[Any]) -> list[str]:
    return [attribute.name for attribute in declared]


_DECLARATIONS: dict[str, Callable[[Any], Iterable[Any]]] = {
    "__dataclass_fields__": list,
    "__attrs_attrs__": _attrs_names,
    "__pydantic_fields__": list,
    "model_fields": list,
    "__fields__": list,
}
"""Where a class says which fields it has, and how their names are read."""
