"""However a write is cut, each line is written once, whole and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.output.pending_lines import PendingLines


def filled(*lines: bytes, keeps: bool = False) -> PendingLines:
    pending = PendingLines(keeps=keeps)
    for line in lines:
        pending.add(line)
    return pending


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"") + b"\n")),
    steps=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40)), min_size=200, max_size=200),
    keeps=st.booleans(),
)
def test_any_cuts_give_the_same_bytes(
    lines: list[bytes], steps: list[tuple[int, int]], keeps: bool
) -> None:
    """Chunks of any size, of which any part was taken, make up exactly what was added."""
    pending = filled(*lines, keeps=keeps)
    written = b""
    for limit, most in steps:
        if not pending:
            break
        taken = pending.chunk(limit)[:most]
        written += taken
        pending.on_written(len(taken))
    while pending:
        written += pending.chunk(1_000)
        pending.on_written(len(pending.chunk(1_000)))
    assert written == b"".join(lines)
    assert pending.waiting == pending.begun == 0


def test_a_chunk_has_whole_lines_that_fit() -> None:
    """Or one line that does not."""
    pending = filled(b"aa\n", b"bb\n", b"cc\n")
    assert pending.chunk(7) == b"aa\nbb\n"
    assert pending.chunk(1) == b"aa\n"
    assert pending.chunk(99) == b"aa\nbb\ncc\n"


def test_a_line_that_was_begun_goes_on_or_begins_again() -> None:
    """It goes on in the same file, and begins again when that file is gone."""
    pending = filled(b"first\n", b"second\n")
    pending.on_written(8)
    assert (pending.begun, pending.waiting, pending.chunk(99)) == (2, 5, b"cond\n")
    pending.begin_line_again()
    assert (pending.begun, pending.waiting, pending.chunk(99)) == (0, 7, b"second\n")


def test_kept_lines_can_be_written_again() -> None:
    """Until they are known to be safe."""
    pending = filled(b"a\n", b"b\n", keeps=True)
    pending.on_written(2)
    pending.forget_written()
    pending.on_written(2)
    assert not pending
    pending.write_again()
    assert pending.chunk(99) == b"b\n"


def test_lines_can_be_given_up() -> None:
    """Nothing of them is left, and others may follow."""
    pending = filled(b"a\n", b"b\n")
    pending.on_written(3)
    pending.clear()
    pending.add(b"c\n")
    assert pending.chunk(99) == b"c\n"
