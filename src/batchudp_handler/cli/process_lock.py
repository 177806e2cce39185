"""A lock between several processes that write lines to one file or one stream.

Each takes it for the lines of a whole batch, so that no line gets into another one and no two
processes rotate at once. The file that has the name when the lock is held counts, even if
another process put it there.
"""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock between processes that have the same open file, such as forks of one process.

    The kernel releases it when its holder dies. It does not tell the threads of one process
    apart: one thread writes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
