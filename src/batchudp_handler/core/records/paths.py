"""The file name and the module that `logging` derives from a path.

`LogRecord` uses `os.path`, which the core does not import, and the path may come from another
system. Where this function is right, the wire leaves both out; where it is not, they are said.
"""

from __future__ import annotations

__all__ = ["filename_and_module"]


def filename_and_module(pathname: str) -> tuple[str, str]:
    """The last part of a path with slashes, and the same without its last suffix."""
    filename = pathname.rpartition("/")[2]
    stem, _, _ = filename.rpartition(".")
    return filename, stem if stem.strip(".") else filename
