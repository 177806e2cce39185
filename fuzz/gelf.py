"""Targets: GELF datagrams into a receiver, and what comes out of it into the decoder."""

from __future__ import annotations

from contextlib import suppress

from batchudp_handler.core.errors import DecodeError
from batchudp_handler.core.payload.codec import decode_payload
from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.core.receive.events import BatchReceived
from batchudp_handler.core.receive.receiver import ReceiverProtocol, ReceiverSettings
from batchudp_handler.core.records.rebuild import records

from .feed import Feed
from .guard import limited

__all__ = ["gelf"]

LIMITS = DecodeLimits(gelf=True)
SETTINGS = ReceiverSettings(gelf=True)
SOURCES = (("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1))
LONG_AFTER = 1e6


def gelf(data: bytes) -> None:
    """Receive a story of datagrams; every one is handed out, waits or is counted, once."""
    feed, now = Feed(data), 0.0
    protocol = ReceiverProtocol(SETTINGS, epoch=1, secret=bytes(32), now=now, wall=1e9)
    total = protocol._state.budgets.reassembly
    while feed:
        now += feed.byte() / 64
        source = SOURCES[feed.below(len(SOURCES))]
        datagram = feed.take(feed.below(2_048))
        with limited():
            protocol.receive_datagram(datagram, source, now, 1e9)
            protocol.handle_timeout(now)
            for event in protocol.events_received():
                if isinstance(event, BatchReceived):
                    _decode(event)
                    protocol.on_batch_handled(event, 1, {}, now)
        assert 0 <= total.used <= total.limit
    protocol.handle_timeout(now + LONG_AFTER)
    assert total.used == 0
    assert protocol.is_settled


def _decode(event: BatchReceived) -> None:
    with suppress(DecodeError):
        batch = decode_payload(event.codec, event.body, LIMITS)
        for record in records(batch, {"received": 5.0}):
            record.getMessage()
