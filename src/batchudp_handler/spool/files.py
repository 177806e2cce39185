"""Which system calls keep a stream on disk? All of them are here, and each may raise `OSError`.

Everything goes through descriptors: the directory of the stream is opened once, its files are
found from there, links are never followed, and what belongs to somebody else, or may be written
by somebody else, is refused. Logs are nobody else's business: modes are 0700 and 0600.

The lock is `flock`, which a dying process cannot forget to release. It belongs to the open file,
so the child of a fork has it too, until it closes the descriptor; closing one of two does not
unlock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["StreamFiles", "make_private_directory", "stream_directories"]

_LOCK = "lock"
_NEW = "new-"
_HALF_MADE_AGE = 60.0
"""Seconds after which a directory that never got its final name is taken for an orphan."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_private_directory(path: str) -> None:
    """Make the directory if it is missing, and see that it is ours alone to write."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    with _opened(path, _DIRECTORY) as descriptor:
        _check_owner(descriptor)


def stream_directories(path: str) -> list[tuple[int, str]]:
    """Stream id and name of all streams in a spool directory, also of those half made."""
    names = sorted(os.listdir(path))
    digits = ((name.removeprefix(_NEW), name) for name in names)
    return [(int(digits, 16), name) for digits, name in digits if _is_stream_id(digits)]


def _is_stream_id(text: str) -> bool:
    return len(text) == 16 and set(text) <= set("0123456789abcdef")


class StreamFiles:
    """The directory of one stream, locked, and the segments in it."""

    def __init__(self, root: str, name: str, directory: int, lock: int) -> None:
        self._root = root
        self._name = name
        self._directory = directory
        self._lock = lock
        self._segment = -1
        """The segment that is being written."""

    @classmethod
    def create(cls, root: str, stream_id: int) -> StreamFiles:
        """Make a stream's directory, locked before anyone can see it under its name."""
        make_private_directory(root)
        name = f"{stream_id:016x}"
        hidden = os.path.join(root, _NEW + name)
        with contextlib.suppress(FileExistsError):  # an earlier attempt that failed half way
            os.mkdir(hidden, 0o700)
        files = cls._open(root, _NEW + name)
        try:
            fcntl.flock(files._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, os.path.join(root, name))
        except OSError:
            files.remove_all()
            raise
        files._name = name
        return files

    @classmethod
    def adopt(cls, root: str, name: str, now: float) -> StreamFiles | None:
        """Lock the directory of a stream whose process is gone; None: somebody owns it."""
        if name.startswith(_NEW):
            status = os.stat(os.path.join(root, name), follow_symlinks=False)
            if now - status.st_mtime < _HALF_MADE_AGE:
                return None
        files = cls._open(root, name)
        try:
            fcntl.flock(files._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # whoever held it may have removed the file between our open and our lock
            found = os.stat(_LOCK, dir_fd=files._directory, follow_symlinks=False)
            if os.path.samestat(found, os.fstat(files._lock)):
                return files
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            files.close()
            raise
        files.close()
        return None

    @classmethod
    def _open(cls, root: str, name: str) -> StreamFiles:
        directory = os.open(os.path.join(root, name), _DIRECTORY)
        try:
            _check_owner(directory)
            return cls(root, name, directory, _open_lock(directory))
        except OSError:
            os.close(directory)
            raise

    def segments(self) -> list[str]:
        """The names of all segments, oldest first."""
        return sorted(name for name in os.listdir(self._directory) if name.endswith(".seg"))

    def read_all(self, name: str) -> tuple[bytes, float]:
        """A whole segment, and when it was last changed."""
        with _opened(name, _READ, dir_fd=self._directory) as descriptor:
            _check_owner(descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(), os.fstat(descriptor).st_mtime

    def read(self, name: str, offset: int, length: int) -> bytes:
        """A piece of a segment; shorter when it ends before."""
        with _opened(name, _READ, dir_fd=self._directory) as descriptor:
            return os.pread(descriptor, length, offset)

    def truncate(self, name: str, size: int) -> None:
        """Cut a segment off."""
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with _opened(name, flags, dir_fd=self._directory) as descriptor:
            os.ftruncate(descriptor, size)

    @property
    def is_writing(self) -> bool:
        """Whether a segment is open to be written."""
        return self._segment >= 0

    def begin(self, name: str) -> None:
        """Make an empty segment, to be written next."""
        self._segment = os.open(name, _WRITE | os.O_TRUNC, 0o600, dir_fd=self._directory)

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` into the open segment at `offset`, or leave it as it was."""
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._segment, data[written:], offset + written)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._segment, offset)
            raise

    def finish(self, *, sync: bool) -> None:
        """Close the open segment."""
        if self._segment < 0:
            return
        descriptor, self._segment = self._segment, -1
        try:
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Delete a segment."""
        os.unlink(name, dir_fd=self._directory)

    def remove_all(self) -> None:
        """Delete the directory, which has no segments any more, and close."""
        try:
            os.unlink(_LOCK, dir_fd=self._directory)
            os.rmdir(os.path.join(self._root, self._name))
        finally:
            self.close()

    def close(self) -> None:
        """Close the descriptors and touch nothing; the lock goes with the last copy of its own."""
        for descriptor in (self._segment, self._lock, self._directory):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._segment = self._lock = self._directory = -1


def _open_lock(directory: int) -> int:
    # first without writing, so that a read-only disk can still be read to its end
    with contextlib.suppress(FileNotFoundError):
        return os.open(_LOCK, _READ, dir_fd=directory)
    return os.open(_LOCK, _WRITE, 0o600, dir_fd=directory)


@contextlib.contextmanager
def _opened(path: str, flags: int, dir_fd: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_owner(descriptor: int) -> None:
    """Refuse what belongs to somebody else, or what others may write to."""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "the spool belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "others may write to the spool")
