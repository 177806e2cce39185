"""Objects that misbehave in every way that Python has a method for, and say who called them."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["BASES", "ERRORS", "Odd", "odd_objects"]

ERRORS: tuple[type[Exception], ...] = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    RecursionError,
    MemoryError,
    StopIteration,
    OSError,
    UnicodeError,
    KeyError,
)
BASES: tuple[type, ...] = (object, str, int, float, dict, list, tuple, bytes, bytearray)

_METHODS = (
    *("__str__", "__repr__", "__format__", "__hash__", "__eq__", "__ne__", "__lt__", "__le__"),
    *("__gt__", "__ge__", "__bool__", "__len__", "__iter__", "__contains__", "__getitem__"),
    *("__int__", "__index__", "__float__", "__trunc__", "__mod__", "__rmod__", "__add__"),
    *("__radd__", "__bytes__", "__fspath__", "__call__", "__reversed__", "__abs__"),
    *("encode", "items", "keys", "values", "get", "copy", "append", "join", "translate"),
    *("isoformat", "strip", "format", "split", "is_integer", "bit_length", "__sizeof__"),
)


class Odd:
    """Makes classes whose every method records its thread and raises, or answers nonsense."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        """Where anything of the objects ran, their destructors included."""
        self.alive = 0

    def make(self, base: type, error: type[BaseException] | None, claims: type | None) -> Any:
        """An object of a class below `base`.

        Args:
            base: What it inherits from.
            error: What its methods raise; None: they answer with another odd object.
            claims: What its `__class__` says, unless that raises as well; None: the truth.
        """
        watch = self

        def call(self: Any, *args: object, **keywords: object) -> Any:
            watch.threads.add(threading.get_ident())
            if error is not None:
                raise error("odd")
            return self

        def end(self: Any) -> None:
            watch.threads.add(threading.get_ident())
            watch.alive -= 1

        members: dict[str, Any] = dict.fromkeys(_METHODS, call) | {"__del__": end}
        if base is object:
            members["__getattr__"] = call
        if claims is not None:
            members["__class__"] = property(lambda self: call(self) if error else claims)
        kind = type("Odd", (base,), members)
        self.alive += 1
        made: Any = base.__new__(kind)  # type: ignore[call-overload]
        if base is dict:
            dict.__setitem__(made, "inside", 1)
        if base is list:
            list.append(made, 1)
        return made


def odd_objects(odd: Odd) -> list[Any]:
    """One object of each base, with each lie, that raises something else each time."""
    made: list[Any] = []
    for number, base in enumerate(BASES):
        for claims in (None, *(kind for kind in BASES if kind is not base)):
            error = ERRORS[(number + len(made)) % len(ERRORS)]
            made += [odd.make(base, error, claims), odd.make(base, None, claims)]
    return made
