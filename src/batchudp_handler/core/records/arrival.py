"""What the receiver knows of a record, apart from what the record says.

It stands in the attribute `batchudp` of every record that arrived, beside the record's dictionary,
where formatters that print all extras do not take it for one. No extra can have its type. The same
values are attributes under their own names, as a convenience for format strings, where the record
has no extra of that name.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["ARRIVAL", "CONVENIENT", "Arrival", "ArrivedRecord", "arrival_of"]

ARRIVAL = "batchudp"
"""The attribute's name."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a record came from."""

    hostname: str | None = None
    """What the sender calls its host."""
    remote_addr: Any = None
    """The address of the last datagram's sender."""
    received: float = 0.0
    """When it came, in seconds since 1970."""
    authenticated: bool = False
    """Whether the datagram was sealed with a known key."""
    hops: int = 1
    """How often the record was shipped."""
    shadowed: frozenset[str] = frozenset()
    """Names of these fields that are names of the record's own extras, too."""

    def __copy__(self) -> Self:
        """Return itself, which nobody can change."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself."""
        return self

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        """Pickle as a dict: who unpickles it need not have this package."""
        return dict, (asdict(self),)


class ArrivedRecord(logging.LogRecord):
    """A record that came over the network."""

    __slots__ = (ARRIVAL,)
    batchudp: Arrival


CONVENIENT = ("hostname", "hops", "remote_addr", "received", "authenticated")
"""The fields that are attributes as well."""


def arrival_of(record: object) -> Arrival | None:
    """Return what a receiver knows of a record; None: it did not come over the network.

    In records of a class of the program's it is in their dictionary.
    """
    if type(record) is ArrivedRecord:
        return record.batchudp
    attributes = getattr(record, "__dict__", None)
    found = dict.get(attributes, ARRIVAL) if isinstance(attributes, dict) else None
    return found if type(found) is Arrival else None
