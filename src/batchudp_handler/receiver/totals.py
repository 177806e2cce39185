"""The sum of the counters of several receivers.

Numbers are added, groups of numbers name by name. Times are not: of two, the later or longer one
counts. A stream that moved from one receiver to another has one entry, that of the receiver
which knows more of it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.receive.stats import ReceiverStats, StreamStats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["total"]

_LATEST = frozenset({"key_last_used", "output_blocked", "uptime"})


def total(parts: Sequence[ReceiverStats]) -> ReceiverStats:
    """Return the sum of all of them; of none, zeros."""
    names = [item.name for item in fields(ReceiverStats)]
    summed = {name: _total(name, [getattr(part, name) for part in parts]) for name in names}
    return ReceiverStats(**summed) if parts else ReceiverStats()


def _total(name: str, values: Sequence[Any]) -> Any:
    if name == "streams":
        return _streams(values)
    if any(value is None for value in values):
        return None  # a number that one of them cannot know
    if values and hasattr(values[0], "items"):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _total(name, [v[key] for v in values if key in v]) for key in keys}
    return max(values, default=0) if name in _LATEST else sum(values)


def _streams(tables: Sequence[Mapping[str, StreamStats]]) -> dict[str, StreamStats]:
    found: dict[str, StreamStats] = {}
    for table in tables:
        for name, stream in table.items():
            if name not in found or found[name].next_rec < stream.next_rec:
                found[name] = stream
    return found
