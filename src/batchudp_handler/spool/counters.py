"""Counters of one spool directory."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.spool.opening import ForeignFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SpoolCounters", "error_name"]

MOST_REFUSED = 10_000
"""Strange names that are remembered."""


@dataclass(slots=True)
class SpoolCounters:
    """Counters of one spool directory; in records where nothing else is said."""

    dropped: dict[str, int] = field(default_factory=dict)
    """By cause: spool_full, expired, spool_corrupt, spool_removed."""
    corrupt_frames: int = 0
    torn_tails: int = 0
    adopted_streams: int = 0
    adopted_records: int = 0
    """Including those found damaged at adoption, which are in `dropped` too."""
    disk_errors: dict[str, int] = field(default_factory=dict)
    """Calls that failed, by the name of the error; `foreign_file` for what is no file of ours."""
    last_error: str = ""
    """The text of the last one, for whoever has to mend it."""
    _refused: set[tuple[str, str]] = field(default_factory=set)

    def drop(self, cause: str, records: int) -> None:
        """Count records that will never be sent from here."""
        if records:
            self.dropped[cause] = self.dropped.get(cause, 0) + records

    def fail(self, error: OSError) -> None:
        """Count a call that the disk refused."""
        name = error_name(error)
        self.disk_errors[name] = self.disk_errors.get(name, 0) + 1
        self.last_error = f"{name}: {error}"

    def refuse(self, error: OSError, path: str) -> None:
        """Count something in the directory that is left alone, once however often it is seen."""
        known = (path, error_name(error))
        if known not in self._refused and len(self._refused) < MOST_REFUSED:
            self._refused.add(known)
            self.fail(error)

    @contextlib.contextmanager
    def tolerate(self) -> Iterator[None]:
        """Count a call that the disk refuses, and go on."""
        try:
            yield
        except OSError as error:
            self.fail(error)


def error_name(error: OSError) -> str:
    """Return the name under which an error is counted."""
    if isinstance(error, ForeignFileError):
        return "foreign_file"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
