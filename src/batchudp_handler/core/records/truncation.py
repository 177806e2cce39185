"""Texts that are cut: to the size that receivers keep, and further when nothing else helps.

Each text is cut to a number of characters, with a marker that says how much is missing. Numbers
stay. Extras keep their names; one that is no text and too long becomes its beginning as text.

Whoever cut a text, the marker shows it, and so records are counted here rather than on the thread
that logged. A batch of few bytes holds none, so only large ones are looked through.
"""

from __future__ import annotations

import re
from itertools import chain
from json import dumps
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.safe import (
    EXTRA_CHARACTERS,
    LONGEST_MARKER,
    TEXT_CHARACTERS,
    cut,
    cut_middle,
)
from batchudp_handler.core.records.snapshot import (
    ERROR,
    EXC_TEXT,
    EXTRAS,
    NARGS,
    SHAPE,
    STACK_INFO,
    TEMPLATE,
    VALUES,
    render,
)
from batchudp_handler.core.records.template import SCALARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batchudp_handler.core.records.batch import JSON, Snapshot

__all__ = ["cut_records", "shortened", "truncate"]

SMALLEST_CUT = 2_000
"""Bytes of a payload below which no value was cut: a list loses items beyond a thousand."""
CUT_CHARACTERS = TEXT_CHARACTERS - LONGEST_MARKER
"""The least that is left of a text which was cut."""
_MARKER = re.compile(r"\[truncated [0-9]{1,12} characters\]|\[[0-9]{1,12} more items\]\Z")


def cut_records(snapshots: Sequence[Snapshot], raw_size: int) -> int:
    """How many of the records that make a payload of so many bytes have a text that was cut."""
    if raw_size < SMALLEST_CUT:
        return 0
    if raw_size >= CUT_CHARACTERS and _has_text(map(_texts, snapshots), CUT_CHARACTERS - 1):
        return sum(map(_is_cut, snapshots))
    extras = [extras for each in snapshots if (extras := each[EXTRAS])]
    values = chain.from_iterable([each.values() for each in extras])
    if raw_size < EXTRA_CHARACTERS and SCALARS.issuperset(map(type, values)):
        return 0  # too little for a long text
    return sum(_has_marker(each.values()) for each in extras)


def _is_cut(snapshot: Snapshot) -> bool:
    is_cut = any(
        text.__class__ is str and len(text) >= CUT_CHARACTERS and _MARKER.search(text)
        for text in _texts(snapshot)
    )
    return is_cut or _has_marker((snapshot[EXTRAS] or {}).values())


def _has_marker(values: Iterable[JSON]) -> bool:
    for value in map(_as_json, values):
        if value.__class__ is str:
            if value[-1:] == "]" and _MARKER.search(value):
                return True
        elif value.__class__ is dict:
            if _has_marker(value.values()):
                return True
        elif value.__class__ is list and _has_marker(value):
            return True
    return False


def _as_json(value: Any) -> JSON:
    return value.json if value.__class__ is Typed else value


def shortened(snapshots: Sequence[Snapshot], raw_size: int) -> tuple[Snapshot, ...] | None:
    """The records with their texts cut to what receivers keep; None where all are short."""
    if raw_size < EXTRA_CHARACTERS:
        return None
    extras = [extras.values() for each in snapshots if (extras := each[EXTRAS])]
    is_long = _has_text(extras, EXTRA_CHARACTERS + LONGEST_MARKER)
    if not is_long and raw_size >= TEXT_CHARACTERS:
        is_long = _has_text(map(_message_texts, snapshots), TEXT_CHARACTERS + LONGEST_MARKER)
    return tuple(map(_shortened, snapshots)) if is_long else None


def _has_text(groups: Iterable[Iterable[Any]], characters: int) -> bool:
    """Whether there is a text of more characters; for many at once."""
    texts = [each for each in chain.from_iterable(groups) if each.__class__ is str]
    return max(map(len, texts), default=0) > characters


def _texts(snapshot: Snapshot) -> tuple[Any, ...]:
    return (*_message_texts(snapshot), snapshot[EXC_TEXT], snapshot[STACK_INFO])


def _shortened(snapshot: Snapshot) -> Snapshot:
    fields = list(snapshot)
    cuts = tuple(_cut_long(text, TEXT_CHARACTERS) for text in _message_texts(snapshot))
    fields[VALUES] = cuts[0] if snapshot[TEMPLATE] is None else cuts
    if snapshot[EXTRAS]:
        items = snapshot[EXTRAS].items()
        fields[EXTRAS] = {name: _cut_long(value, EXTRA_CHARACTERS) for name, value in items}
    return tuple(fields)


def _cut_long(value: Any, characters: int) -> Any:
    return cut(value, characters) if _is_long(value, characters) else value


def _message_texts(snapshot: Snapshot) -> tuple[Any, ...]:
    """The message, or the arguments of one that is not rendered."""
    values: Any = snapshot[VALUES]
    return (values,) if snapshot[TEMPLATE] is None else values


def _is_long(value: Any, characters: int) -> bool:
    """Whether a text is longer than one that was cut to so many characters."""
    return value.__class__ is str and len(value) > characters + LONGEST_MARKER


def truncate(snapshot: Snapshot, characters: int) -> Snapshot:
    """Return the snapshot with every text in it cut to `characters`.

    The message is rendered first, so that what is left of it begins as it would have been printed.
    """
    fields = list(snapshot)
    fields[VALUES] = render(snapshot)
    fields[TEMPLATE] = None
    fields[NARGS] = 0
    extras = fields[EXTRAS]
    fields[EXTRAS] = fields[SHAPE] = fields[ERROR] = None
    fields = [_cut(field, characters) for field in fields]
    for field in (EXC_TEXT, STACK_INFO):
        if snapshot[field] is not None:
            fields[field] = cut_middle(snapshot[field], characters)
    if extras is not None and characters >= len(extras):
        fields[EXTRAS] = {name: _cut_value(value, characters) for name, value in extras.items()}
    return tuple(fields)


def _cut(value: Any, characters: int) -> Any:
    return cut(value, characters) if type(value) is str else value


def _cut_value(kept: Any, characters: int) -> Any:
    value = _as_json(kept)
    if kept is not value and len(dumps(value)) <= characters:
        return kept
    if isinstance(value, (list, dict)):
        text = dumps(value)
        return value if len(text) <= characters else _cut(text, characters)
    return _cut(value, characters)
