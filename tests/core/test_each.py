"""Each module of the core has a test file of its own; `tox -e each` measures what it reaches."""

from __future__ import annotations

import pytest

from tests.core.each import modules, own_tests

NOT_YET = {
    "receive/counters", "receive/events", "receive/state", "records/arrival", "records/batch",
    "records/json_form", "records/leaves", "records/objects", "records/portable",
    "records/record_names", "records/remote_error", "records/shown", "send/adoption",
    "send/connection",
}  # fmt: skip
"""Modules that only other modules' tests reach; the list may only become shorter."""


@pytest.mark.parametrize("module", sorted({*modules()} - NOT_YET))
def test_each_module_has_its_own_test_file(module: str) -> None:
    """Whoever changes a module finds its contract under its name."""
    assert own_tests(module)


def test_a_file_belongs_to_the_longest_name() -> None:
    """What tests the decoder does not count for the encoder."""
    assert own_tests("payload/compact") == ["tests/core/payload/test_compact.py"]
    assert own_tests("payload/compact_decode") == [
        "tests/core/payload/test_compact_decode.py",
        "tests/core/payload/test_compact_decode_limits.py",
    ]


def test_what_only_says_a_type_needs_no_tests() -> None:
    """The methods of a protocol never run."""
    assert "payload/encoded" not in modules()
    assert "payload/encoders" in modules()
