"""The pytest plugin with the fixture `log_receiver`.

pytest loads this module in every run where the package is installed, so it imports the rest only
when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchudp_handler.testing.log_receiver import LogReceiver


@pytest.fixture
def log_receiver() -> Iterator[LogReceiver]:
    """Provide a receiver of log records on a free port of 127.0.0.1 for one test.

    `log_receiver.handler()` attaches a handler that ships to it, `log_receiver.address` is for
    handlers in other processes; `has_record(...)`, `wait_for(n)` and `records` say what arrived.
    """
    from batchudp_handler.testing.log_receiver import LogReceiver

    with LogReceiver() as receiver:
        yield receiver
