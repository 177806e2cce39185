"""Settings that can not work are refused."""

from __future__ import annotations

from typing import Any

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.wire.auth import HmacKey
from tests.core.receive.bench import KEY, Bench


@pytest.mark.parametrize(
    "options",
    [
        {"max_streams": 0},
        {"work_queue_bytes": 0},
        {"receive_buffer": 0},
        {"remembered_streams": 1},
        {"source_rate": 0.0},
        {"source_rate": 1.0, "source_burst": 0.5},
        {"keys": [KEY, HmacKey(7, bytes(32))]},
        {"allow": ["nowhere"]},
    ],
    ids=str,
)
def test_settings_that_can_not_work_are_refused(options: dict[str, Any]) -> None:
    """Each with a `ConfigError`."""
    with pytest.raises(ConfigError):
        Bench(**options)
