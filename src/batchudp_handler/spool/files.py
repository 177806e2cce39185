"""The system calls that keep one stream on disk. Each may raise `OSError`.

The directory of the stream is opened once and its files are found from there, so that nothing
that happens to a name leads elsewhere. Three descriptors at most are kept: directory, lock, and
the segment that is being written. Each is checked before it is used, and opened anew when
somebody has closed it (see `opening.Held`). Logs are nobody else's business: modes are 0700 and
0600.

The lock is `flock`, which a dying process cannot forget to release. It belongs to the open file,
so the child of a fork has it too, until it closes the descriptor; closing one of two does not
unlock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from batchudp_handler.core.send.spool_age import encode_stamp, first_seq
from batchudp_handler.spool.opening import (
    READ,
    WRITE,
    ForeignFileError,
    open_directory,
    open_file,
    opened_directory,
    opened_file,
)

if TYPE_CHECKING:
    from batchudp_handler.spool.opening import Held

__all__ = ["LOCK", "NEW", "StreamFiles", "StreamGoneError", "make_private_directory"]

LOCK = "lock"
NEW = "new-"
"""Before the name of a directory that is being made."""
LARGEST_SEGMENT = 2 << 20
"""Bytes; what is larger was not written by a spool."""
LOOK_PATIENCE = 0.002
"""Seconds that another process may hold the lock while it only looks (see `survey`)."""


class StreamGoneError(OSError):
    """Error: the stream's files were removed, or another process has taken them over."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ESTALE, "removed, or taken over by another process", path)


def make_private_directory(path: str) -> None:
    """Make the directory if it is missing; what is above it must be there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError as error:
        message = "the directory above the spool is missing; make it first"
        raise FileNotFoundError(error.errno, message, path) from None


class StreamFiles:
    """The directory of one stream, locked, and the segments in it."""

    def __init__(self, root: str, name: str, directory: Held, lock: Held) -> None:
        self._root = root
        self._name = name
        self._directory = directory
        self._lock = lock
        self._segment: Held | None = None
        """The one that is being written."""
        self._unremoved: set[str] = set()
        """Segments that were to be deleted and could not be."""

    @classmethod
    def create(cls, root: str, stream_id: int) -> StreamFiles:
        """Make a stream's directory, locked before anyone can see it under its name."""
        make_private_directory(root)
        name = f"{stream_id:016x}"
        with opened_directory(root) as top:
            with contextlib.suppress(FileExistsError):  # an earlier attempt that failed half way
                os.mkdir(NEW + name, 0o700, dir_fd=top)
            files = cls._open(root, NEW + name, top)
            try:
                fcntl.flock(files._lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rename(NEW + name, name, src_dir_fd=top, dst_dir_fd=top)
            except OSError:
                with contextlib.suppress(OSError):
                    files.remove_if_empty()
                files.close()
                raise
        files._name = name
        return files

    @classmethod
    def adopt(cls, root: str, name: str) -> StreamFiles | None:
        """Lock the directory of a stream whose process is gone; None: somebody owns it."""
        with opened_directory(root) as top:
            files = cls._open(root, name, top)
        try:
            _lock_now(files._lock)
            # whoever held it may have removed the file between our open and our lock
            if _identity_of_lock(files._directory.number) == files._lock.identity:
                return files
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            files.close()
            raise
        files.close()
        return None

    @classmethod
    def _open(cls, root: str, name: str, top: int) -> StreamFiles:
        directory = open_directory(name, top)
        try:
            return cls(root, name, directory, _open_lock(directory.number))
        except OSError:
            directory.close()
            raise

    def _at(self) -> int:
        """Return the directory's descriptor, after a look at what became of it and of the lock."""
        lock = self._lock.status()
        if lock is not None and not lock.st_nlink:
            raise StreamGoneError(os.path.join(self._root, self._name))
        if lock is None or self._directory.status() is None:
            self._reopen()
        return self._directory.number

    def _reopen(self) -> None:
        """Open anew what somebody else has closed; the stream must still be ours."""
        lock = self._lock
        with opened_directory(self._root) as top:
            directory = open_directory(self._name, top)
        try:
            if lock.status() is None:
                lock = _open_lock(directory.number)
                fcntl.flock(lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _identity_of_lock(directory.number) != self._lock.identity:
                raise StreamGoneError(os.path.join(self._root, self._name))
        except OSError as error:
            directory.close()
            if lock is not self._lock:
                lock.close()
            if isinstance(error, BlockingIOError):
                raise StreamGoneError(os.path.join(self._root, self._name)) from None
            raise
        self._directory.close()
        self._directory, self._lock = directory, lock

    def check(self) -> None:
        """See that directory and lock are still ours, or open them anew."""
        self._at()

    def stamp(self, seconds: float) -> None:
        """Write the witnessed time beside the lock, as far as the disk can be written."""
        self._at()
        with contextlib.suppress(OSError):
            os.pwrite(self._lock.number, encode_stamp(seconds), 0)

    def segments(self) -> list[str]:
        """Return the names of all segments, oldest first."""
        return sorted(name for name in os.listdir(self._at()) if first_seq(name) is not None)

    def read_all(self, name: str) -> bytes:
        """Return a whole segment."""
        with opened_file(name, READ, self._at()) as descriptor:
            size = os.fstat(descriptor).st_size
            if size > LARGEST_SEGMENT:
                raise ForeignFileError(errno.EFBIG, "too large for a segment, left alone", name)
            return os.pread(descriptor, size, 0)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return a piece of a segment; a shorter one when it ends before."""
        with opened_file(name, READ, self._at()) as descriptor:
            return os.pread(descriptor, length, offset)

    @property
    def is_writing(self) -> bool:
        """Whether a segment is open to be written, still ours, and still where it was made."""
        status = None if self._segment is None else self._segment.status()
        return status is not None and status.st_nlink > 0

    def begin(self, name: str) -> None:
        """Make an empty segment, to be written next."""
        directory = self._at()
        if name in self._unremoved:
            self.remove(name)
        self._segment = open_file(name, WRITE | os.O_CREAT | os.O_EXCL, directory)

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` into the open segment at `offset`, or leave it as it was."""
        segment = self._segment
        assert segment is not None, "no segment was begun"
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(segment.number, data[written:], offset + written)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(segment.number, offset)
            raise

    def sync(self) -> None:
        """Have the open segment on the disk, with its name."""
        if self._segment is not None and self._segment.status() is not None:
            os.fsync(self._segment.number)
            os.fsync(self._at())

    def finish(self, *, sync: bool) -> None:
        """Close the open segment."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            if sync and segment.status() is not None:
                os.fsync(segment.number)
        finally:
            segment.close()

    def remove(self, name: str) -> None:
        """Delete a segment."""
        self._unremoved.add(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._at())
        self._unremoved.discard(name)

    def remove_if_empty(self) -> None:
        """Delete the directory, unless there is something in it that is not ours to delete."""
        for name in list(self._unremoved):
            self.remove(name)
        directory = self._at()
        if set(os.listdir(directory)) - {LOCK}:
            return
        own = os.fstat(directory)
        os.unlink(LOCK, dir_fd=directory)
        with opened_directory(self._root) as top:
            if os.path.samestat(own, os.stat(self._name, dir_fd=top, follow_symlinks=False)):
                os.rmdir(self._name, dir_fd=top)

    def close(self) -> None:
        """Close the descriptors and touch nothing; the lock goes with the last copy of its own."""
        for held in (self._segment, self._lock, self._directory):
            if held is not None:
                held.close()
        self._segment = None


def _open_lock(directory: int) -> Held:
    try:
        return open_file(LOCK, WRITE | os.O_CREAT, directory)
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES}:
            raise
    # a disk that is read-only can still be read to its end
    return open_file(LOCK, READ, directory)


def _lock_now(lock: Held) -> None:
    """Lock it, or raise `BlockingIOError`: a process has it, and is not only looking at it."""
    try:
        fcntl.flock(lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(LOOK_PATIENCE)
        fcntl.flock(lock.number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _identity_of_lock(directory: int) -> tuple[int, int]:
    status = os.stat(LOCK, dir_fd=directory, follow_symlinks=False)
    return status.st_dev, status.st_ino
