"""Whatever a record holds becomes values that nobody can change, with their types.

A kept value consists of exact standard types: those of JSON, containers, the types of `leaves`,
and shown values, which stand for objects of the user's and print as they do. It is made on the
thread that logs; from then on no code of the user runs. Depth, number of parts and characters are
bounded.

Of an object no more is kept than its own `repr` shows: a field that it hides does not travel.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.json_form import json_form
from batchudp_handler.core.records.leaves import leaf_of, with_fixed_offset
from batchudp_handler.core.records.objects import field_names, is_of_numpy, scalar_of, texts
from batchudp_handler.core.records.safe import (
    EXTRA_CHARACTERS,
    contained,
    cut,
    guarded,
    is_portable_number,
    number_text,
    type_name,
)
from batchudp_handler.core.records.shown import SHOWN, base_value, can_be_shown, ordered, shown
from batchudp_handler.core.records.shown import representation as representation_of
from batchudp_handler.core.records.shown import text as text_of
from batchudp_handler.core.records.template import SCALARS

if TYPE_CHECKING:
    from batchudp_handler.core.records.batch import JSON

__all__ = ["Typed", "json_safe", "keep", "keep_whole"]

MAX_NODES = 1_000
MAX_DEPTH = 16
_CONTAINERS = (dict, list, tuple, set, frozenset)
_HASHLESS = "_"
"""Put behind a key that would be taken for another."""


class Typed:
    """A kept value for which JSON has no type."""

    __slots__ = ("_json", "value", "weight")

    def __init__(self, value: Any, weight: int) -> None:
        self.value = value
        self.weight = weight
        """About the characters of its texts."""

    @property
    def json(self) -> JSON:
        """The value as those see it who read JSON; made when first asked for."""
        try:
            return self._json
        except AttributeError:
            self._json: JSON = json_form(self.value)
            return self._json


def keep(value: object, characters: int = EXTRA_CHARACTERS) -> Any:
    """Return a value that JSON has a type for, or a `Typed` one; never raises an `Exception`."""
    walk = _Walk(characters)
    kept = walk.value(value, ())
    return Typed(kept, characters - walk.characters) if walk.is_typed else kept


def keep_whole(value: object, characters: int) -> Typed | None:
    """Return the kept value; None where something had to be cut."""
    walk = _Walk(characters)
    kept = walk.value(value, ())
    return None if walk.is_cut else Typed(kept, characters - walk.characters)


def json_safe(value: object, characters: int = EXTRA_CHARACTERS) -> JSON:
    """Return a JSON value for any object, with no object of the user's in it."""
    kept = keep(value, characters)
    return kept.json if type(kept) is Typed else kept


class _Walk:
    """One conversion, with what is left of its budget."""

    def __init__(self, characters: int) -> None:
        self.characters = characters
        self.is_typed = False
        self.is_cut = False
        self._nodes = MAX_NODES

    def value(self, value: Any, above: tuple[int, ...]) -> Any:
        """Convert `value`, which lies inside the containers with the ids in `above`."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind in SCALARS:
            return self._number(value)
        if id(value) in above:
            return self._stand_in("{...}" if issubclass(kind, dict) else "[...]")
        if kind in SHOWN:
            return self._shown_again(value, above)
        for base in _CONTAINERS:
            if issubclass(kind, base):
                return self._container(value, base, above)
        return self._leaf(value, kind, above)

    def _text(self, text: str) -> str:
        room = max(self.characters, 0)
        if len(text) > room:
            self.is_cut = True
            text = cut(text, room)
        self.characters -= len(text)
        return text

    def _number(self, value: Any) -> Any:
        self.characters -= 8
        if value is None or is_portable_number(value):
            return value
        if type(value) is float:
            self.is_typed = True
            return value
        return self._stand_in(number_text(value))

    def _stand_in(self, text: str, representation: str | None = None) -> Any:
        """Return a text that stands for an object and prints without quotes."""
        self.is_typed = True
        text = self._text(text)
        return shown(text, text, text if representation is None else self._text(representation))

    def _shown_again(self, value: Any, above: tuple[int, ...]) -> Any:
        """Take over what came from another program and goes on to a third."""
        self.is_typed = True
        content = self.value(base_value(value), above)
        return shown(content, self._text(text_of(value)), self._text(representation_of(value)))

    # Containers

    def _container(self, value: Any, base: type, above: tuple[int, ...]) -> Any:
        if len(above) >= MAX_DEPTH:
            self.is_cut = True
            return self._text(f"<{type_name(value)} of {base.__len__(value)} items>")  # type: ignore[attr-defined]  # a container
        inside = (*above, id(value))
        # the base class's own methods, so that no overridden one runs
        if base is dict:
            content: Any = self._dict(list(dict.items(value)), inside)
        else:
            content = self._items([*base.__iter__(value)], inside)  # type: ignore[attr-defined]  # a container
            if base is not list:
                self.is_typed = True
                content = tuple(content) if base is tuple else self._set(base, content)
        if type(value) is base or self.is_cut:
            return content
        return self._as_printed(value, content, above)

    def _spend(self) -> bool:
        self._nodes -= 1
        return self._nodes >= 0 and self.characters > 0

    def _items(self, items: list[object], above: tuple[int, ...]) -> list[Any]:
        kept: list[Any] = []
        for done, item in enumerate(items):
            if not self._spend():
                self.is_cut = True
                kept.append(f"... [{len(items) - done} more items]")
                break
            kept.append(self.value(item, above))
        return kept

    def _set(self, kind: type, items: list[Any]) -> Any:
        distinct: dict[Any, None] = {}
        for item in items:
            distinct[self._key(item, distinct)] = None
        return ordered(kind, list(distinct))

    def _dict(self, items: list[tuple[object, object]], above: tuple[int, ...]) -> dict[Any, Any]:
        kept: dict[Any, Any] = {}
        for done, (key, item) in enumerate(items):
            if not self._spend():
                self.is_cut = True
                kept["..."] = f"[{len(items) - done} more items]"
                break
            if type(key) is str:
                name: Any = self._text(key)
            else:
                self.is_typed = True
                name = self.value(key, above)
            kept[self._key(name, kept)] = self.value(item, above)
        return kept

    def _key(self, key: Any, taken: dict[Any, Any]) -> Any:
        """Return something like `key` that can be a key and is none yet."""
        try:
            if key not in taken:
                return key
        except TypeError:  # what stands for an object that can be one
            pass
        text, representation = str(key), repr(key)
        while text in taken:
            text += _HASHLESS
        return self._stand_in(text, representation)

    # Objects

    def _leaf(self, value: Any, kind: type, above: tuple[int, ...]) -> Any:
        if issubclass(kind, (bytes, bytearray)):
            return self._bytes(value, kind)
        leaf = leaf_of(kind)
        if leaf is not None:
            moment = leaf.tag in {"datetime", "time"}
            exact = contained(with_fixed_offset, value) if moment else value
            parts = contained(leaf.take_apart, exact)
            # put together again, it holds nothing that somebody put into the original
            kept = None if parts is None else contained(leaf.load, parts)
            if kept is not None:
                self.is_typed = True
                self.characters -= 8 + sum([len(part) for part in parts if type(part) is str])
                return kept
        return self._object(value, kind, above)

    def _bytes(self, value: Any, kind: type) -> Any:
        base: Any = bytes if issubclass(kind, bytes) else bytearray
        if kind is base and len(value) * 4 <= self.characters:
            self.is_typed = True
            self.characters -= len(value) * 2
            return base(value)
        return self._stand_in(repr(bytes(base.__getitem__(value, slice(self.characters + 1)))))

    def _object(self, value: Any, kind: type, above: tuple[int, ...]) -> Any:
        if len(above) >= MAX_DEPTH:
            return self._stand_in(guarded(repr, value))
        content = scalar_of(value)
        if content is None:
            content = self._fields(value, field_names(kind), (*above, id(value)))
            if not content:
                return self._stand_in(*texts(value))
        else:
            content = self.value(content, above)
        return self._as_printed(value, content, above)

    def _fields(self, value: Any, names: list[str], above: tuple[int, ...]) -> dict[str, Any]:
        own = guarded(repr, value) if names else ""
        fields = {}
        for name in names:
            if not self._spend():
                self.is_cut = True
                break
            field = self.value(contained(attrgetter(name), value), above)
            if f"{name}={field!r}" in own:
                fields[name] = field
        return fields

    def _as_printed(self, value: Any, content: Any, above: tuple[int, ...]) -> Any:
        """Return `content` with the texts of `value`, where it would print another one."""
        text, representation = texts(value)
        if text == str(content) and (
            representation == repr(content) or (not above and is_of_numpy(value))
        ):
            return content
        if can_be_shown(content):
            self.is_typed = True
            return shown(content, self._text(text), self._text(representation))
        return content if text == str(content) else self._stand_in(text, representation)
