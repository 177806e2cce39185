"""How is a record made small enough when nothing else helps?

Its texts are cut, each to the same number of characters and with a marker that says how much is
missing. Numbers stay. Extras keep their names; one that is no text and too long becomes its
beginning as text.
"""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.safe import cut
from batchudp_handler.core.snapshot import EXTRAS, NARGS, TEMPLATE, VALUES, render

if TYPE_CHECKING:
    from batchudp_handler.core.batch import JSON, Snapshot

__all__ = ["truncate"]


def truncate(snapshot: Snapshot, characters: int) -> Snapshot:
    """Return the snapshot with every text in it cut to `characters`.

    The message is rendered first, so that what is left of it begins as it would have been printed.
    """
    fields = list(snapshot)
    fields[VALUES] = render(snapshot)
    fields[TEMPLATE] = None
    fields[NARGS] = 0
    extras = fields[EXTRAS]
    fields[EXTRAS] = None
    fields = [_cut(field, characters) for field in fields]
    if extras is not None and characters >= len(extras):
        fields[EXTRAS] = {name: _cut_value(value, characters) for name, value in extras.items()}
    return tuple(fields)


def _cut(value: Any, characters: int) -> Any:
    return cut(value, characters) if type(value) is str else value


def _cut_value(value: JSON, characters: int) -> JSON:
    if isinstance(value, (list, dict)):
        text = dumps(value)
        return value if len(text) <= characters else _cut(text, characters)
    return _cut(value, characters)  # type: ignore[no-any-return]  # a str or the scalar itself
