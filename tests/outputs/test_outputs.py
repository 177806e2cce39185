"""The script's own outputs: every line once, whole, or the batch is not finished."""

from __future__ import annotations

import errno
import logging
import os
import resource
import select
import shutil
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from batchudp_handler.console import TextFormatter
from batchudp_handler.core.errors import UnfinishedBatch
from batchudp_handler.core.output import outage
from batchudp_handler.outputs.file import FileTarget
from batchudp_handler.outputs.output import MOST_BYTES, Counters, Output, Target
from batchudp_handler.outputs.stream import StreamTarget
from tests.support import wait_until

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

SECONDS = 30.0
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


OPEN: list[Written] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No output of a test outlives it."""
    yield
    for written in OPEN:
        written.ends.set()
        written.output.close()
    OPEN.clear()


class Written:
    """An output, what it said, and a way to let it give up."""

    def __init__(self, target: Target, **options: Any) -> None:
        self.said: list[tuple[int, str]] = []
        self.counters = Counters()
        self.ends = threading.Event()
        self.output = Output(
            target,
            counters=self.counters,
            give_up=self.ends.wait,
            tell=lambda level, text: self.said.append((level, text)),
            **options,
        )
        self.output.setFormatter(TextFormatter("%(message)s"))
        OPEN.append(self)

    def emit(self, *lines: str, **values: object) -> None:
        for line in lines:
            record = logging.makeLogRecord({"msg": line, "levelname": "INFO", **values})
            self.output.handle(record)

    def write(self, *lines: str) -> None:
        self.emit(*lines)
        self.output.flush()

    @property
    def warnings(self) -> list[str]:
        return [text for level, text in self.said if level == logging.WARNING]

    @contextmanager
    def writing(self, *lines: str) -> Iterator[threading.Thread]:
        """While a thread writes these, which must succeed in the end."""
        results: list[BaseException | None] = []
        self.ends.clear()

        def run() -> None:
            try:
                self.write(*lines)
            except BaseException as error:  # noqa: BLE001  # looked at below
                results.append(error)
            else:
                results.append(None)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield thread
            thread.join(SECONDS)
        finally:
            self.ends.set()
            thread.join(SECONDS)
        assert results == [None]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "logs" / "out.log"


@pytest.fixture
def written(path: pathlib.Path) -> Written:
    """An output into a file in a directory of its own."""
    path.parent.mkdir()
    return Written(FileTarget(str(path)))


@contextmanager
def largest_file(size: int) -> Iterator[Callable[[], None]]:
    """No file of this process may grow beyond that, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield lift
    finally:
        lift()


LINES = [f"line {number:04d} {'x' * (number % 90)}" for number in range(500)]


# --- lines ---------------------------------------------------------------------------------------


def test_lines_of_a_batch_go_out_together(written: Written, path: pathlib.Path) -> None:
    """At its end, or when they are many; an existing file is continued."""
    written.emit("é", "\ud800")
    assert path.read_text() == ""
    written.output.flush()
    assert path.read_text("utf-8") == "é\n\\ud800\n"
    written.emit("x" * MOST_BYTES)
    assert path.stat().st_size > MOST_BYTES
    again = Written(FileTarget(str(path)))
    again.write("more")
    again.output.close()
    again.output.close()
    assert path.read_text("utf-8").endswith("x\nmore\n")


def test_a_record_that_does_not_fit_the_pattern_is_written(
    written: Written, path: pathlib.Path
) -> None:
    """In the default form, counted, said once, and beside all the others."""
    written.output.setFormatter(TextFormatter("%(status)d %(message)s"))
    written.emit("one", status=200)
    written.emit("two")
    written.emit("three", status="n/a")
    written.emit("four", status=404)
    written.output.flush()
    lines = path.read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["one", "two", "three", "four"]
    assert lines[3] == "404 four"
    assert written.counters.unformatted == {"TypeError": 2}
    assert len(written.warnings) == 1
    assert "a real number is required" in written.warnings[0]


# --- a file that refuses -------------------------------------------------------------------------


def test_a_full_disk_is_waited_for(written: Written, path: pathlib.Path) -> None:
    """The writing goes on from exactly where it stopped: nothing torn, nothing twice."""
    with largest_file(10_001) as lift, written.writing(*LINES) as thread:
        wait_until(lambda: written.output.problem)
        assert path.stat().st_size == 10_001
        assert "File too large" in written.warnings[0]
        assert str(path) in written.warnings[0]
        wait_until(lambda: written.output.blocked_seconds > 0)
        assert thread.is_alive()
        lift()
    assert path.read_text().splitlines() == LINES
    assert written.counters.refused["EFBIG"] > 0
    assert written.output.problem is None
    assert written.output.blocked_seconds == 0.0
    assert written.said[-1][0] == logging.INFO


def test_what_could_not_be_written_is_not_finished(written: Written, path: pathlib.Path) -> None:
    """When the process ends meanwhile, no half of a line is left behind."""
    written.ends.set()
    with largest_file(10_001), pytest.raises(UnfinishedBatch):
        written.write(*LINES)
    kept = path.read_text().splitlines(keepends=True)
    assert [line.rstrip("\n") for line in kept] == LINES[: len(kept)]
    assert kept[-1].endswith("\n")
    written.write("next")
    assert path.read_text().endswith("\nnext\n")


def test_lines_given_up_in_the_middle_leave_the_batch_unfinished(written: Written) -> None:
    """Also when the lines after them could be written."""
    written.ends.set()
    with largest_file(10):
        written.emit("x" * MOST_BYTES)
    written.emit("y")
    with pytest.raises(UnfinishedBatch):
        written.output.flush()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_device_that_is_full_is_never_finished() -> None:
    """It says so, with the error's own words."""
    written = Written(FileTarget("/dev/full"))
    written.ends.set()
    with pytest.raises(UnfinishedBatch):
        written.write("lost")
    (warning,) = written.warnings
    assert warning == (
        "No space left on device: /dev/full; free some space, records wait meanwhile"
    )


def test_any_error_is_a_refusal(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system says, and whatever we do wrong: tried again, counted by its name."""
    real, errors = os.write, iter([errno.EIO, errno.EDQUOT, errno.EPIPE, errno.EROFS, None])

    def write(descriptor: int, data: bytes) -> int:
        number = next(errors, 0)
        if number is None:
            raise MemoryError
        if number:
            raise OSError(number, os.strerror(number))
        return real(descriptor, data)

    monkeypatch.setattr(outage, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(os, "write", write)
    written.write("one")
    assert written.counters.refused == {
        **dict.fromkeys(("EIO", "EDQUOT", "EPIPE", "EROFS", "MemoryError"), 1)
    }


def test_whoever_cannot_be_told_does_no_harm(path: pathlib.Path) -> None:
    """A message that cannot be said must not make a batch look finished, or unfinished."""
    path.parent.mkdir()

    def tell(level: int, text: str) -> None:
        raise OSError(f"nobody hears {level} {text}")

    output = Output(FileTarget(str(path)), counters=Counters(), give_up=lambda _: True, tell=tell)
    output.handle(logging.makeLogRecord({"msg": "one"}))
    with largest_file(1), pytest.raises(UnfinishedBatch):
        output.flush()
    output.handle(logging.makeLogRecord({"msg": "two"}))
    output.flush()
    output.close()
    assert path.read_text() == "two\n"


# --- a file that moves ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_moved_file_is_opened_anew(
    written: Written, path: pathlib.Path, is_removed: bool
) -> None:
    """Before the next batch, without a signal, with the mode that it had."""
    path.chmod(0o640)
    written.write("before")
    if is_removed:
        path.unlink()
    else:
        path.rename(path.with_suffix(".old"))
    written.write("after")
    assert path.read_text() == "after\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert is_removed or path.with_suffix(".old").read_text() == "before\n"


def test_a_file_that_replaces_it_is_used_as_it_is(written: Written, path: pathlib.Path) -> None:
    """As logrotate makes one with `create`."""
    written.write("before")
    path.rename(path.with_suffix(".old"))
    path.write_text("header\n")
    path.chmod(0o604)
    written.write("after")
    assert path.read_text() == "header\nafter\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_file_that_is_emptied_is_continued(written: Written, path: pathlib.Path) -> None:
    """As logrotate does with `copytruncate`: no gap of zeros, no wrong size."""
    written.write("before")
    os.truncate(path, 0)
    written.write("after")
    assert path.read_text() == "after\n"


def test_a_directory_that_is_away_is_waited_for(written: Written, path: pathlib.Path) -> None:
    """Moved away with the file in it, and back later."""
    written.write("before")
    away = path.parent.with_name("away")
    path.parent.rename(away)
    with written.writing("one", "two"):
        wait_until(lambda: written.output.problem)
        assert "make its directory again" in str(written.output.problem)
        path.parent.mkdir()
    assert path.read_text() == "one\ntwo\n"
    assert (away / "out.log").read_text() == "before\n"


def test_a_directory_may_become_a_file_and_back(written: Written, path: pathlib.Path) -> None:
    """And so may the path become a directory."""
    shutil.rmtree(path.parent)
    path.parent.write_text("no directory")
    with written.writing("one"):
        wait_until(lambda: written.counters.refused["ENOTDIR"])
        path.parent.unlink()
        path.mkdir(parents=True)
        wait_until(lambda: written.counters.refused["EISDIR"])
        path.rmdir()
    assert path.read_text() == "one\n"


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_waited_for(
    written: Written, path: pathlib.Path
) -> None:
    """Until somebody gives the permission back."""
    path.unlink()
    path.parent.chmod(0o500)
    with written.writing("one"):
        wait_until(lambda: written.counters.refused["EACCES"])
        path.parent.chmod(0o700)
    assert path.read_text() == "one\n"


def test_a_line_begun_in_a_file_that_moves_is_whole_in_the_next(
    written: Written, path: pathlib.Path
) -> None:
    """And its first half is in neither."""
    old = path.with_suffix(".old")
    with largest_file(10_001) as lift, written.writing(*LINES):
        wait_until(lambda: written.output.problem)
        path.rename(old)
        wait_until(lambda: path.exists() and path.stat().st_size == 10_001)
        lift()
    assert (old.read_text() + path.read_text()).splitlines() == LINES


def test_a_file_emptied_under_a_line_that_was_begun(written: Written, path: pathlib.Path) -> None:
    """The line begins again."""
    with largest_file(10_001) as lift, written.writing(*LINES):
        wait_until(lambda: written.output.problem)
        lift()
        os.truncate(path, 0)
    lines = path.read_text().splitlines()
    assert lines == LINES[-len(lines) :]


def test_a_line_that_somebody_left_half_is_ended(path: pathlib.Path) -> None:
    """The next one is whole, also where the file may not be read."""
    path.parent.mkdir()
    path.write_text("killed in the mid")
    written = Written(FileTarget(str(path)))
    written.write("one")
    assert path.read_text() == "killed in the mid\none\n"
    with path.open("a") as other:
        other.write("another")
    written.write("two")
    assert path.read_text().endswith("\none\nanother\ntwo\n")


def test_what_cannot_be_opened_at_the_start_is_an_error(path: pathlib.Path) -> None:
    """A mistake in the configuration is told when it is made."""
    with pytest.raises(FileNotFoundError):
        FileTarget(str(path))
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        FileTarget(str(path))


# --- rotation ------------------------------------------------------------------------------------


def test_rotation_loses_no_line_and_splits_none(tmp_path: pathlib.Path) -> None:
    """Every part holds whole lines, at most `max_bytes`, and all parts together all lines."""
    path = tmp_path / "out.log"
    written = Written(FileTarget(str(path), max_bytes=50, backups=10))
    lines = [f"line {number:03d}" for number in range(30)]
    for line in lines:
        written.emit(line)
        if line.endswith("7"):
            written.output.flush()
    written.output.close()
    parts = [path, *(tmp_path / f"out.log.{n}" for n in range(1, 11))]
    texts = [part.read_text() for part in reversed(parts) if part.exists()]
    assert "".join(texts).splitlines() == lines
    assert max(map(len, texts)) <= 50


def test_rotation_keeps_as_many_parts_as_told(tmp_path: pathlib.Path) -> None:
    """Older parts disappear; without backups the file starts anew."""
    for backups, names in ((2, ["out.log", "out.log.1", "out.log.2"]), (0, ["out.log"])):
        directory = tmp_path / str(backups)
        directory.mkdir()
        written = Written(FileTarget(str(directory / "out.log"), max_bytes=20, backups=backups))
        written.write(*[f"line {number}" for number in range(20)])
        written.output.close()
        assert sorted(os.listdir(directory)) == names
        assert (directory / "out.log").read_text().endswith("line 19\n")


def test_a_rotated_file_is_made_like_the_old_one(tmp_path: pathlib.Path) -> None:
    """Mode, and owner and group where this process may give files away."""
    path = tmp_path / "out.log"
    path.touch()
    path.chmod(0o620)
    if IS_ROOT:
        os.chown(path, 12, 34)
    before = path.stat()
    written = Written(FileTarget(str(path), max_bytes=50, backups=3))
    written.write(*[f"line {number}" for number in range(20)])
    written.output.close()
    for part in tmp_path.iterdir():
        after = part.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (
            *(before.st_mode, before.st_uid, before.st_gid),
        )


@pytest.mark.parametrize("number", [1, 2])
def test_what_cannot_be_rotated_grows(tmp_path: pathlib.Path, number: int) -> None:
    """A directory has the name of an older part: said once, and no line is lost."""
    (tmp_path / f"out.log.{number}" / "full").mkdir(parents=True)
    failures: list[OSError] = []
    path = tmp_path / "out.log"
    written = Written(
        FileTarget(str(path), max_bytes=50, backups=2, on_rotation_failed=failures.append)
    )
    for line in LINES[:40]:
        written.write(line)
    written.output.close()
    assert path.read_text().splitlines() == LINES[:40] if number == 1 else path.exists()
    assert len(failures) == 1
    assert path.read_text().endswith(LINES[39] + "\n")
    assert (tmp_path / f"out.log.{number}" / "full").is_dir()


# --- fsync ---------------------------------------------------------------------------------------


def failing_fsync(monkeypatch: pytest.MonkeyPatch, failures: int) -> list[int]:
    """Let `fsync` fail so many times; how large the file was at each call."""
    sizes: list[int] = []

    def fsync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        if len(sizes) <= failures:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(outage, "FIRST_DELAY", 0.001)
    return sizes


def test_a_batch_is_finished_when_the_disk_has_it(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may be lost by a failed `fsync` is written anew, and comes once."""
    path.parent.mkdir()
    written = Written(FileTarget(str(path)), sync_interval=0.0)
    written.write("before")
    sizes = failing_fsync(monkeypatch, 3)
    written.write("one", "two")
    assert sizes == [15] * 4
    assert path.read_text() == "before\none\ntwo\n"
    assert written.counters.refused == {"EIO": 3}


def test_a_batch_that_the_disk_never_had_is_not_finished(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends before `fsync` succeeds."""
    path.parent.mkdir()
    written = Written(FileTarget(str(path)), sync_interval=0.0)
    written.ends.set()
    failing_fsync(monkeypatch, 1_000)
    with pytest.raises(UnfinishedBatch):
        written.write("one")


def test_the_disk_is_asked_at_intervals(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every so many seconds at most; and each part before it is rotated away."""
    path.parent.mkdir()
    now = [0.0]
    written = Written(FileTarget(str(path)), sync_interval=2.0, clock=lambda: now[0])
    sizes = failing_fsync(monkeypatch, 0)
    for second in range(6):
        now[0] = float(second)
        written.write("x")
    assert sizes == [6, 10]


def test_parts_are_on_the_disk_before_they_are_rotated(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With lines of one batch in several files, each is asked for."""
    path.parent.mkdir()
    written = Written(FileTarget(str(path), max_bytes=10, backups=9), sync_interval=0.0)
    sizes = failing_fsync(monkeypatch, 0)
    written.write("aaaa", "bbbb", "cccc")
    assert sizes == [10, 5]


# --- pipes, devices, standard output -------------------------------------------------------------


def test_a_fifo_nobody_reads_is_waited_for(tmp_path: pathlib.Path) -> None:
    """It is no reason not to start; a reader may come, leave and come again."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    written = Written(FileTarget(str(path)))
    with written.writing("one"):
        wait_until(lambda: written.counters.refused["ENXIO"])
        assert "start what reads it" in str(written.output.problem)
        reader = os.open(path, os.O_RDONLY)
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    with written.writing("two"):
        wait_until(lambda: written.counters.refused["EPIPE"])
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 100) == b"two\n"
    os.close(reader)


@pytest.fixture(params=["blocking", "non-blocking"])
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[int, TextIO]]:
    """A pipe whose end for writing is a text stream."""
    reader, writer = os.pipe()
    os.set_blocking(writer, request.param == "blocking")
    with os.fdopen(writer, "w", encoding="ascii") as stream:
        yield reader, stream
    os.close(reader)


def read_all(descriptor: int) -> str:
    """What is in a pipe now."""
    data = b""
    while select.select([descriptor], [], [], 0)[0]:
        data += os.read(descriptor, 65_536)
    return data.decode()


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_slow_reader_gets_every_line_once(
    pipe: tuple[int, TextIO], has_proc: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the pipe was opened, and nobody else's view of it is changed."""
    reader, stream = pipe
    if not has_proc:
        real = os.open
        monkeypatch.setattr(os, "open", lambda path, *rest: real(f"/nonexistent{path}", *rest))
    was_blocking = os.get_blocking(stream.fileno())
    written = Written(StreamTarget(stream))
    lines = [f"line {number:05d} {'x' * 100}" for number in range(3_000)]
    text = ""
    with written.writing(*lines) as thread:
        while thread.is_alive() or select.select([reader], [], [], 0)[0]:
            if select.select([reader], [], [], 0.01)[0]:
                text += os.read(reader, 10_000).decode()
    assert text.splitlines() == lines
    assert os.get_blocking(stream.fileno()) is was_blocking
    written.output.close()
    assert not stream.closed


def test_a_reader_that_stopped_holds_nobody_up(pipe: tuple[int, TextIO]) -> None:
    """The process may end at any time; what was not taken is not finished."""
    _, stream = pipe
    written = Written(StreamTarget(stream))
    written.emit(*["x" * 100] * 100)
    threading.Timer(0.2, written.ends.set).start()
    with pytest.raises(UnfinishedBatch):
        written.write(*["x" * 100] * 3_000)


def test_a_reader_that_left_ends_it(pipe: tuple[int, TextIO]) -> None:
    """It is no outage, since nobody will come back; but nothing is finished, either."""
    reader, stream = pipe
    written = Written(StreamTarget(stream))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, reader)
    os.close(nothing)
    with pytest.raises(UnfinishedBatch):
        written.write("one")
    assert not written.output.has_reader
    assert written.said == []


def test_what_a_stream_cannot_encode_is_escaped(pipe: tuple[int, TextIO]) -> None:
    """The neighbours of such a character are not lost with it."""
    reader, stream = pipe
    written = Written(StreamTarget(stream))
    written.write("before", "snowman \u2603 \ud83d", "after")
    assert read_all(reader) == "before\nsnowman \\u2603 \\ud83d\nafter\n"


def test_standard_output_may_be_a_file_on_a_full_disk(tmp_path: pathlib.Path) -> None:
    """It goes on where it stopped, and leaves whole lines when it is given up."""
    path = tmp_path / "stdout"
    with path.open("w") as stream:
        written = Written(StreamTarget(stream))
        with largest_file(10_001) as lift, written.writing(*LINES):
            wait_until(lambda: written.output.problem)
            lift()
        assert path.read_text().splitlines() == LINES
        size = path.stat().st_size
        with largest_file(size + 50), pytest.raises(UnfinishedBatch):
            written.write(*["y" * 30] * 3)
        assert path.read_text().splitlines() == [*LINES, "y" * 30]
