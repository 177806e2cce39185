"""Whatever one record holds, the caller goes on, no code of its objects runs elsewhere, and every
other record arrives."""

from __future__ import annotations

import gc
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from tests.odd import BASES, ERRORS, Odd, odd_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batchudp_handler.config import Delivery, Encoding

WAYS: list[tuple[Delivery, Encoding]] = [
    ("one_way", "compact"),
    ("one_way", "json"),
    ("acknowledged", "compact"),
]
FIELDS = [
    *("name", "msg", "args", "levelno", "levelname", "pathname", "filename", "module", "lineno"),
    *("funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "process"),
    *("processName", "taskName", "exc_info", "exc_text", "stack_info", "extra", "hostname"),
    *("hops", "received", "message", "getMessage"),
]


LOWEST = -2_000_000
"""A record of any level is wanted at the far side."""


class Far:
    """A receiver, and the texts that came, by the logger's name."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("odd.far")
        self.logger.propagate = False
        self.logger.setLevel(LOWEST)
        self.handler = Keep()
        self.logger.handlers = [self.handler]
        self.receiver = BatchUDPReceiver("127.0.0.1", 0, logger_prefix="odd.far.")


class Keep(logging.Handler):
    """Keeps texts."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    made = Far()
    logging.disable(LOWEST)
    with made.receiver:
        yield made
    logging.disable(logging.NOTSET)


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """The records that handlers complained about."""
    told: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.Handler, "handleError", lambda self, record: told.append(record))
    return told


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("near", logging.INFO, "p.py", 1, text, (), None)


def ship(
    far: Far, way: tuple[Delivery, Encoding], odd_ones: list[logging.LogRecord]
) -> tuple[Any, list[str]]:
    """Ship each of the records between two normal ones; the stats, and what arrived."""
    delivery, encoding = way
    handler = BatchUDPHandler(
        *far.receiver.address[:2], delivery=delivery, encoding=encoding,
        batch_size=1_000_000, flush_interval=60.0, flush_level=None, shutdown_timeout=30.0,
    )  # fmt: skip
    far.handler.texts.clear()
    handler.handle(record("first"))
    assert handler.flush(30.0)
    while odd_ones:
        handler.handle(record("normal"))
        handler.handle(odd_ones.pop())
    handler.handle(record("normal"))
    assert handler.flush(30.0)
    handler.close()
    stats = handler.stats()
    wait_until(lambda: len(far.handler.texts) >= stats.sent + stats.confirmed)
    return stats, far.handler.texts.copy()


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("field", FIELDS)
def test_an_odd_object_in_every_place(
    far: Far, way: tuple[Delivery, Encoding], field: str, errors: list[logging.LogRecord]
) -> None:
    """Every normal record arrives; every odd one arrives, too, or is counted."""
    odd = Odd()
    odd_ones = []
    for each in odd_objects(odd):
        near = record("odd")
        near.__dict__[field] = (each,) if field == "args" else each
        odd_ones.append(near)
    number = len(odd_ones)
    del each, near
    stats, texts = ship(far, way, odd_ones)
    errors.clear()
    gc.collect()
    assert texts.count("normal") == number + 1
    assert len(texts) + sum(stats.dropped.values()) == stats.accepted == 2 * number + 2
    assert set(stats.dropped) <= {"record_error", "relay"}
    assert stats.send_errors == {}
    assert odd.alive == 0, "an object of the user outlived its log call"
    assert odd.threads <= {threading.get_ident()}


values = st.tuples(
    st.sampled_from(BASES), st.sampled_from([None, *ERRORS]), st.sampled_from([None, *BASES])
)
places = st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=6)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(shapes=st.lists(places, min_size=1, max_size=6))
def test_odd_objects_everywhere(
    far: Far, way: tuple[Delivery, Encoding], shapes: list[Any]
) -> None:
    """Any mixture of oddities in any record leaves all normal ones alone."""
    odd = Odd()
    odd_ones = []
    for shape in shapes:
        near = record("odd")
        near.__dict__.update({field: odd.make(*value) for field, value in shape.items()})
        odd_ones.append(near)
    del near
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "raiseExceptions", False)
        stats, texts = ship(far, way, odd_ones)
    assert texts.count("normal") >= len(shapes) + 1
    assert len(texts) + sum(stats.dropped.values()) == stats.accepted == 2 * len(shapes) + 2
    assert stats.send_errors == {}
    assert odd.threads <= {threading.get_ident()}


@pytest.mark.parametrize("meant", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_to_end_the_program_passes(far: Far, meant: type[BaseException]) -> None:
    """As with the standard handlers, which contain an `Exception` and nothing else."""

    class Ends:
        def __str__(self) -> str:
            raise meant

    handler = BatchUDPHandler(*far.receiver.address[:2])
    near = record("%s")
    near.args = (Ends(),)
    with pytest.raises(meant):
        handler.handle(near)
    handler.handle(record("normal"))
    handler.close()
    assert handler.stats().sent == handler.stats().accepted == 1


def test_a_record_that_cannot_be_read_is_told_as_logging_tells(
    far: Far, errors: list[logging.LogRecord]
) -> None:
    """`handleError` gets the record, the caller nothing, and the stats the count."""

    class Locked(logging.LogRecord):
        def __getattribute__(self, name: str) -> Any:
            raise LookupError(name)

    def refuse(near: logging.LogRecord) -> bool:
        raise LookupError

    handler = BatchUDPHandler(*far.receiver.address[:2])
    locked, filtered = Locked.__new__(Locked), record("m")
    handler.handle(locked)
    handler.addFilter(refuse)
    handler.handle(filtered)
    handler.close()
    assert len(errors) == 2
    assert errors[0] is locked
    assert errors[1] is filtered
    stats = handler.stats()
    assert stats.dropped == {"record_error": 2}
    assert stats.accepted == 2


def test_a_stderr_that_raises_is_nothing_to_the_caller(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complaint about a record may fail; the log call returns all the same."""

    class Broken:
        def write(self, text: str) -> int:
            raise LookupError("no stderr")

    def refuse(near: logging.LogRecord) -> bool:
        raise LookupError("no filter")

    handler = BatchUDPHandler(*far.receiver.address[:2])
    handler.addFilter(refuse)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", Broken())
        handler.handle(record("m"))
        handler.close()
    assert handler.stats().dropped == {"record_error": 1}
