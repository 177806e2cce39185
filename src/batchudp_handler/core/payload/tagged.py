"""Values with their types, in JSON.

A scalar stands for itself, an object for a dict whose keys are all strings. Everything else is an
array that begins with a tag, lists too, so that nothing a user logs can be taken for a tag.
`docs/protocol/payloads.md` has the list.
"""

from __future__ import annotations

from itertools import chain, groupby
from math import isfinite
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.payload.budget import PRINTED_LARGE_FLOAT, Price
from batchudp_handler.core.records.leaves import BY_TAG, leaf_of
from batchudp_handler.core.records.shown import (
    SHOWN,
    base_value,
    can_be_shown,
    items_of,
    ordered,
    representation,
    shown,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.payload.budget import Budget
    from batchudp_handler.core.records.batch import JSON

__all__ = ["decode", "encode"]

_SCALARS = frozenset((str, int, bool, type(None)))
_CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_TAGS: dict[Any, str] = {kind: tag for tag, kind in _CONTAINERS.items()}
_NOT_FINITE = frozenset(("nan", "inf", "-inf"))
MAX_EQUAL_HASHES = 8
"""Keys of one hash; somebody who can choose them could make a set that takes hours."""


def encode(value: Any) -> JSON:
    """Return the JSON value for a kept value."""
    kind = type(value)
    if kind in _SCALARS or (kind is float and isfinite(value)):
        return value  # type: ignore[no-any-return]  # a scalar
    if kind is float:
        return ["float", repr(value)]
    if kind in _TAGS:
        return [_TAGS[kind], *map(encode, value)]
    if kind is dict:
        return _encode_dict(value)
    if kind in SHOWN:
        return _encode_shown(value)
    leaf = leaf_of(kind)
    if leaf is None:
        raise TypeError
    return [leaf.tag, *leaf.take_apart(value)]


def _encode_dict(value: dict[Any, Any]) -> JSON:
    if {str}.issuperset(map(type, value)):
        return {key: encode(item) for key, item in value.items()}
    return ["dict", *map(encode, chain.from_iterable(value.items()))]


def _encode_shown(value: Any) -> JSON:
    items, base = items_of(value), base_value(value)
    if items is not None:
        return [_TAGS[type(base)], *map(encode, items)]
    texts = [text(value)]
    if representation(value) != texts[0]:
        texts.append(representation(value))
    return ["shown", None if base == texts[0] else encode(base), *texts]


def decode(node: JSON, budget: Budget, depth: int) -> Any:
    """Return the value that a node stands for.

    Args:
        node: Parsed JSON from the network.
        budget: Charged for each array before it is worked on.
        depth: How deep arrays and objects may be nested.

    Raises:
        DecodeError: The budget does not allow it.
        Exception: It is not what `encode` makes; any other class, as constructors raise.
    """
    if isinstance(node, dict):
        return {key: decode(item, budget, _below(depth)) for key, item in node.items()}
    if not isinstance(node, list):
        return node
    tag, *parts = node
    budget.work(Price.TYPED)
    leaf = BY_TAG.get(tag)
    if leaf is None:
        return _STRUCTURES[tag](tag, parts, budget, _below(depth))
    if tag == "decimal":
        budget.output(PRINTED_LARGE_FLOAT)
    return leaf.load(parts)


def _below(depth: int) -> int:
    if depth == 0:
        raise ValueError
    return depth - 1


def _decode_items(tag: str, parts: list[Any], budget: Budget, depth: int) -> Any:
    kind = _CONTAINERS[tag]
    items = [decode(part, budget, depth) for part in parts]
    if kind is not set and kind is not frozenset:
        return kind(items)
    _check_hashes(items)
    return ordered(kind, items)


def _decode_dict(_: str, parts: list[Any], budget: Budget, depth: int) -> dict[Any, Any]:
    values = [decode(part, budget, depth) for part in parts]
    keys, items = values[::2], values[1::2]
    _check_hashes(keys)
    return dict(zip(keys, items, strict=True))


def _check_hashes(keys: list[Any]) -> None:
    hashes = sorted(map(hash, keys))
    if any(len(list(equal)) > MAX_EQUAL_HASHES for _, equal in groupby(hashes)):
        raise ValueError


def _decode_shown(_: str, parts: list[Any], budget: Budget, depth: int) -> Any:
    base, own, *others = parts
    content = own if base is None else decode(base, budget, depth)
    texts = [own, *others[:1]]
    if not {str}.issuperset(map(type, texts)) or not can_be_shown(content):
        raise ValueError
    return shown(content, texts[0], texts[-1])


def _decode_float(_: str, parts: list[Any], budget: Budget, depth: int) -> float:  # noqa: ARG001  # as the others
    (digits,) = parts
    if digits not in _NOT_FINITE:
        raise ValueError
    return float(digits)


_STRUCTURES: dict[str, Callable[[str, list[Any], Budget, int], Any]] = {
    **dict.fromkeys(_CONTAINERS, _decode_items),
    "dict": _decode_dict,
    "shown": _decode_shown,
    "float": _decode_float,
}
