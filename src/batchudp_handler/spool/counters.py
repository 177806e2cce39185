"""What happened to the files of the spool?"""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SpoolCounters"]


@dataclass(slots=True)
class SpoolCounters:
    """Counters of one spool directory; in records where nothing else is said."""

    dropped: dict[str, int] = field(default_factory=dict)
    """By cause: spool_full, expired, spool_corrupt."""
    corrupt_frames: int = 0
    torn_tails: int = 0
    adopted_streams: int = 0
    adopted_records: int = 0
    """Including those found damaged at adoption, which are in `dropped` too."""
    disk_errors: dict[str, int] = field(default_factory=dict)
    """Calls that failed, by the name of the error."""
    last_error: str = ""
    """The text of the last one, for whoever has to mend it."""

    def drop(self, cause: str, records: int) -> None:
        """Count records that will never be sent from here."""
        if records:
            self.dropped[cause] = self.dropped.get(cause, 0) + records

    @contextlib.contextmanager
    def tolerate(self) -> Iterator[None]:
        """Count a call that the disk refuses, and go on."""
        try:
            yield
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            self.disk_errors[name] = self.disk_errors.get(name, 0) + 1
            self.last_error = str(error)
