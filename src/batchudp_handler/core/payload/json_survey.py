"""A look at a JSON text before it is parsed: how much is in it, and how deep it goes.

A few searches at memory speed are enough for what honest senders write. Only a text that could be
costly is looked at more closely: without its strings, by what is left of it.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import Price

if TYPE_CHECKING:
    from batchudp_handler.core.payload.budget import Budget

__all__ = ["charge_text"]

_STRUCTURE = b'[]{},:"'
_OTHERS = bytes(set(range(256)) - set(_STRUCTURE))
_SEPARATORS = b",:"
_STEP = [(code in b"[{") - (code in b"]}") for code in range(256)]
_FIRST_LOOK = 1_024
"""Brackets of which the depth is checked before anything is charged for all of them."""
_CONTROL = (b"\x7f", b"\xc2")
"""DEL; and the first byte of those control characters that have two."""


def charge_text(body: bytes, budget: Budget, depth: int) -> None:
    """Charge a JSON text for everything that parsing it will make.

    Args:
        body: The text, in UTF-8.
        budget: What is charged.
        depth: How deep it may be nested.

    Raises:
        DecodeError: It costs too much or is too deep.
    """
    budget.work(len(body) * Price.BYTE + body.count(b"\\") * Price.ESCAPE)
    budget.work(sum(map(body.count, _CONTROL)) * Price.CONTROL)
    containers = body.count(b"[") + body.count(b"{")
    values = body.count(b",") + body.count(b":")
    if containers > depth or not budget.can_work(_price(containers, values)):
        outside = _without_strings(body)
        containers = outside.count(b"[") + outside.count(b"{")
        values = outside.count(b",") + outside.count(b":")
        brackets = outside.translate(None, _SEPARATORS)
        _check_depth(brackets[:_FIRST_LOOK], depth)
        budget.work(_price(containers, values))
        _check_depth(brackets, depth)
    else:
        budget.work(_price(containers, values))


def _price(containers: int, values: int) -> int:
    return containers * Price.CONTAINER + values * Price.VALUE


def _without_strings(body: bytes) -> bytes:
    """Brackets, commas and colons outside of strings."""
    if b"\\" in body:
        # an escape is a pair; when these two are gone, every quote begins or ends a string
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.translate(None, _OTHERS).split(b'"')[::2])


def _check_depth(brackets: bytes, depth: int) -> None:
    """Raise `DecodeError` where brackets are nested deeper than that."""
    for _ in range(3):  # what most texts consist of
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        depth -= 1
        if len(brackets) <= 2 * depth:
            return
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > depth:
        raise DecodeError(Reason.JSON, "depth")
