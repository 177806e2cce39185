"""What users do, as it is done in an interpreter that lacks something (see `without.py`).

python -m tests.platforms.stories SYSTEM STORY [ARGUMENT ...]
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Literal

from tests.platforms.without import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = 500
IDLE_SECONDS = 0.5


class Kept(logging.Handler):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def round_trip(host: str, delivery: Literal["one_way", "acknowledged"]) -> None:
    """Log from a handler to a receiver, and then nothing for a while."""
    from batchudp_handler import BatchUDPHandler, BatchUDPReceiver

    kept = Kept()
    far, near = logging.getLogger("far"), logging.getLogger("near")
    for logger in (far, near):
        logger.propagate = False
        logger.setLevel(logging.INFO)
    far.addHandler(kept)
    with BatchUDPReceiver(host, 0, logger_prefix="far.") as receiver:
        to = receiver.address if isinstance(receiver.address, str) else receiver.address[0]
        port = 9999 if isinstance(receiver.address, str) else receiver.address[1]
        handler = BatchUDPHandler(to, port, delivery=delivery, flush_interval=0.1)
        near.addHandler(handler)
        for number in range(RECORDS):
            near.info("number %d", number)
        assert handler.flush(20.0), handler.stats()
        deadline = time.monotonic() + 20.0
        while len(kept.messages) < RECORDS and time.monotonic() < deadline:
            time.sleep(0.01)
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        idle = time.process_time() - before
        handler.close()
    assert sorted(kept.messages) == sorted(f"number {number}" for number in range(RECORDS))
    stats = handler.stats()
    assert stats.sent + stats.confirmed == RECORDS, stats
    assert stats.send_errors == {}, stats.send_errors
    assert idle < IDLE_SECONDS / 2, f"an idle pair took {idle:.2f} s of a core"


def refusals(directory: str) -> None:
    """Ask for what there is not."""
    from batchudp_handler import BatchUDPHandler, BatchUDPReceiver

    wishes: dict[str, Callable[[], BatchUDPHandler | BatchUDPReceiver]] = {
        "handler on unix": lambda: BatchUDPHandler(f"unix://{directory}/log.sock"),
        "receiver on unix": lambda: BatchUDPReceiver(f"unix://{directory}/log.sock"),
        "spool": lambda: BatchUDPHandler(
            "127.0.0.1", 9999, delivery="acknowledged", spool_directory=directory
        ),
    }
    for name, wish in wishes.items():
        try:
            wish().close()
        except ValueError as error:
            print(f"{name}: {error}")
        else:
            print(f"{name}: works")


def receive(*arguments: str) -> None:
    """Run the script `batchudp-receive`."""
    from batchudp_handler.cli.receive import main

    sys.argv[1:] = arguments
    sys.exit(main())


def send(*arguments: str) -> None:
    """Run the script `batchudp-send`."""
    from batchudp_handler.cli.send import main

    sys.argv[1:] = arguments
    sys.exit(main())


STORIES: dict[str, Callable[..., None]] = {
    "round_trip": round_trip,
    "refusals": refusals,
    "receive": receive,
    "send": send,
}

if __name__ == "__main__":
    system, story, *rest = sys.argv[1:]
    SYSTEMS[system]()
    STORIES[story](*rest)
