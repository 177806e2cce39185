"""What a receiving process tells its operator: where it listens, warnings, and counters."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from batchudp_handler.cli.report import (
    numbers_of,
    summary_text,
)
from batchudp_handler.platform import usable_buffer
from batchudp_handler.receiver.guard import Guard
from batchudp_handler.receiver.receive_socket import address_text, is_loopback
from batchudp_handler.receiver.reemit import DIAGNOSTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchudp_handler.config import ReceiverConfig
    from batchudp_handler.core.receive.events import Address
    from batchudp_handler.core.receive.stats import ReceiverStats

__all__ = ["announce", "receiver_summary", "write_whole"]


def announce(
    address: Address, granted: int, config: ReceiverConfig, say: Callable[[str], None]
) -> None:
    """Tell where records are received, and what an operator should know about it."""
    where = address_text(address)

    def warn(words: str, *args: object) -> None:
        Guard().say(logging.getLogger(DIAGNOSTICS), logging.WARNING, words, *args)

    if isinstance(address, str):  # what waits for a unix socket is bounded by its senders' buffers
        say(f"listening on {where}")
        return
    usable = usable_buffer(granted)
    asked = config.receive_buffer
    say(f"listening on {where}, receive buffer {usable:,} bytes of {asked:,} bytes asked for")
    if usable < asked:
        warn(
            "asked for a receive buffer of %d bytes, got %d; see net.core.rmem_max",
            asked,
            usable,
        )
    if not (is_loopback(address) or config.key_file or config.allow):
        warn("anyone who reaches %s may send: neither key_file nor allow is set", where)


SUMMARY: Mapping[str, str] = {
    "delivered": "delivered",
    "lost": "lost",
    "rejected": "rejected",
    "missing": "missing",
    "dropped by senders": "sender_dropped",
    "duplicates": "duplicates",
    "possibly duplicate": "possibly_duplicate",
    "datagrams refused": "refused",
    "kernel drops": "kernel_drops",
    "handler errors": "handler_errors",
    "unhandled": "unhandled",
    "trimmed": "trimmed",
    "not written": "pending",
    "written without the pattern": "unformatted",
    "writes refused": "output_errors",
    "senders": "streams_seen",
    "senders ended": "streams_ended",
    "seconds": "uptime",
}
"""The words of the summary and the counters behind them."""


def receiver_summary(stats: ReceiverStats, more: Mapping[str, object] | None = None) -> str:
    """Return in one line the counters that say whether everything arrived."""
    text = summary_text({**numbers_of(stats, SUMMARY), **(more or {})})
    silent = sum(stats.streams_ended.values()) - stats.streams_ended.get("closed", 0)
    if silent:
        text += f"; {silent} senders ended without a goodbye, their last records are not known"
    return text


def write_whole(path: str, text: str) -> None:
    """Write a file that shows itself with all of its content or not at all."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
