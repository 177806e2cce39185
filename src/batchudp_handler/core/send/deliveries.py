"""The choice between the two deliveries of a stream, made once, at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.one_way import OneWayDelivery
from batchudp_handler.core.send.outgoing import BaselineStream, OutgoingStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.acknowledged import AcknowledgedDelivery
    from batchudp_handler.core.send.delivery import Delivery
    from batchudp_handler.core.send.settings import SenderSettings

__all__ = ["load_delivery", "make_delivery"]


def make_delivery(
    settings: SenderSettings,
    *,
    stream_id: int,
    random: Callable[[], float],
    counters: SenderCounters | None = None,
) -> Delivery:
    """Return the sending machine of one stream, without a socket, a thread or a clock.

    Args:
        settings: How to encode, seal and deliver.
        stream_id: Random 64 bits; new ones after each start and fork.
        random: Draws from [0, 1).
        counters: Those of the handler, whatever streams it has; None: some of its own.
    """
    counters = SenderCounters() if counters is None else counters
    if settings.encoding == "json":
        return OneWayDelivery(settings, stream_id, BaselineStream(), counters, random)
    stream = OutgoingStream(
        stream_id, settings.seal, settings.own_seal, acknowledged=settings.acknowledged
    )
    if settings.acknowledged:
        return _acknowledged()(settings, stream_id, stream, counters, random)
    return OneWayDelivery(settings, stream_id, stream, counters, random)


def load_delivery(settings: SenderSettings) -> None:
    """Load what few senders need, when the settings are made.

    The stream begins later, perhaps in a forked child, in a signal handler, or while the
    interpreter ends: no place for the first import of anything.
    """
    if settings.acknowledged:
        _acknowledged()


def _acknowledged() -> type[AcknowledgedDelivery]:
    from batchudp_handler.core.send.acknowledged import AcknowledgedDelivery  # see above

    return AcknowledgedDelivery
