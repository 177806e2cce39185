"""Which machine a stream gets."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.acknowledged import AcknowledgedDelivery
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.deliveries import load_delivery, make_delivery
from batchudp_handler.core.send.one_way import OneWayDelivery
from batchudp_handler.core.send.settings import SenderSettings


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (SenderSettings(), OneWayDelivery),
        (SenderSettings(encoding="json"), OneWayDelivery),
        (SenderSettings(acknowledged=True), AcknowledgedDelivery),
    ],
)
def test_the_settings_choose_the_delivery(settings: SenderSettings, kind: type) -> None:
    """It counts where it is told to, or for itself."""
    load_delivery(settings)
    counters = SenderCounters()
    made = make_delivery(settings, stream_id=7, random=lambda: 0.5, counters=counters)
    assert type(made) is kind
    assert made.counters is counters
    assert made.stream_id == 7
    other = make_delivery(settings, stream_id=8, random=lambda: 0.5)
    assert other.counters is not counters
