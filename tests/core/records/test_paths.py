"""File and module names derived from paths."""

from __future__ import annotations

import posixpath

import pytest

from batchudp_handler.core.records.paths import filename_and_module


@pytest.mark.parametrize(
    "pathname",
    [
        *("/srv/shop/views.py", "views.py", "views", "", "/", "a/", "<stdin>", "a.b/c"),
        *(".hidden", "..", "...", "a/.b.c", "a/..b", "x.tar.gz", "dir.d/.py", "C:\\x\\y.py"),
    ],
)
def test_derived_as_logging_does_on_posix(pathname: str) -> None:
    """The result is that of `os.path.basename` and `splitext`."""
    filename = posixpath.basename(pathname)
    assert filename_and_module(pathname) == (filename, posixpath.splitext(filename)[0])
