"""Files and directories of a spool, opened so that nothing strange is touched and nothing waits.

Links are never followed, and what belongs to somebody else, or may be written by somebody else,
is refused. What is not a regular file is not even opened: a FIFO would hold the flusher, and a
device may do something when it is opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "READ",
    "WRITE",
    "ForeignFileError",
    "Held",
    "open_directory",
    "open_file",
    "opened_directory",
    "opened_file",
]

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
READ = os.O_RDONLY | _SAFE
WRITE = os.O_RDWR | _SAFE


class ForeignFileError(OSError):
    """Error: something is no file of the spool, and is left alone."""


class Held:
    """A descriptor that is used, and closed, only while it leads to what was opened.

    A number that somebody closes and uses again between the comparison and the call that follows
    is not noticed.
    """

    __slots__ = ("_descriptor", "identity")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.identity: tuple[int, int] | None = (status.st_dev, status.st_ino)

    def status(self) -> os.stat_result | None:
        """Return what the system says of it; None: it is not ours any more."""
        try:
            status = os.fstat(self._descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                return None
            raise
        return status if (status.st_dev, status.st_ino) == self.identity else None

    @property
    def number(self) -> int:
        """The descriptor, for a call that is made at once.

        Raises:
            OSError: It is not ours any more.
        """
        if self.status() is None:
            raise OSError(errno.EBADF, "somebody else has closed a descriptor of the spool")
        return self._descriptor

    def close(self) -> None:
        """Close what is ours; let go of what is not."""
        try:
            is_ours = self.status() is not None
        except OSError:
            is_ours = True  # it is open, and the disk that refuses to be asked is ours
        if is_ours:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self.identity = None


def open_directory(path: str, dir_fd: int | None = None) -> Held:
    """Open a directory that is ours alone to write."""
    return _checked(os.open(path, os.O_DIRECTORY | READ, dir_fd=dir_fd))


def open_file(name: str, flags: int, directory: int) -> Held:
    """Open a regular file that is ours alone to write; with `os.O_CREAT` it may be made."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise ForeignFileError(errno.EINVAL, "not a regular file, left alone", name)
    return _checked(os.open(name, flags, 0o600, dir_fd=directory))


def _checked(descriptor: int) -> Held:
    try:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ForeignFileError(errno.EINVAL, "not a regular file, left alone")
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "the spool belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, "others may write to the spool; chmod go-w it")
        return Held(descriptor)
    except OSError:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def opened_directory(path: str, dir_fd: int | None = None) -> Iterator[int]:
    """Open a directory as `open_directory` does, and close it at the end."""
    with contextlib.closing(open_directory(path, dir_fd)) as held:
        yield held.number


@contextlib.contextmanager
def opened_file(name: str, flags: int, directory: int) -> Iterator[int]:
    """Open a file as `open_file` does, and close it at the end."""
    with contextlib.closing(open_file(name, flags, directory)) as held:
        yield held.number
