"""The messages that a receiver writes about itself, at a bounded rate.

Warnings on the logger `batchudp.receiver`: records lost on the way, records that senders dropped,
datagrams that the kernel dropped, datagrams and records that were refused, handlers that raised;
and one line for each sender that leaves. Whoever can send datagrams could make a receiver talk
without end, so each kind of message appears at once and then at most every ten seconds, refusals
at most once a minute for each reason, with what has come together meanwhile.

Only the worker thread calls this, because the operator's handlers may be slow.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.admission import source_of
from batchudp_handler.core.errors import explained
from batchudp_handler.core.events import (
    DatagramsRefused,
    RecordsLost,
    SenderDropped,
    StreamEnded,
)
from batchudp_handler.core.refusals import Refusals
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.receiver.reemit import DIAGNOSTICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.events import Address, Event
    from batchudp_handler.core.refusals import Report
    from batchudp_handler.core.stats import StreamStats

__all__ = ["Diagnostics", "ReceiveFailed"]

QUIET_SECONDS = 10.0
SUMMARIES_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class ReceiveFailed:
    """The socket reported an error, or the loop met a mistake of ours."""

    name: str
    """Of the errno or the exception."""


@dataclass(slots=True)
class _Pending:
    """One kind of message: what is to be told, and from when on it may be."""

    words: str
    count: int = 0
    detail: str = ""
    not_before: float = 0.0


@dataclass(slots=True)
class _Summaries:
    """How many streams were summed up in this period, and how many were not."""

    told: int = 0
    omitted: int = 0
    until: float = 0.0


@dataclass(slots=True)
class Diagnostics:
    """Collects what is to be told, and tells it at a bounded rate."""

    clock: Callable[[], float]
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(DIAGNOSTICS))
    _pending: dict[str, _Pending] = field(
        default_factory=lambda: {
            "lost": _Pending("%d records lost on the way%s"),
            "sender_dropped": _Pending("%d records dropped by their senders%s"),
            "kernel": _Pending("%d datagrams dropped by the kernel's receive buffer%s"),
            "handler": _Pending("a local handler raised on %d records%s"),
            "receive": _Pending("receiving failed %d times%s"),
            "engine": _Pending("the engine did not take a batch %d times%s"),
        }
    )
    _refused: list[Report] = field(default_factory=list)
    _rejections: Refusals = field(default_factory=Refusals)
    _summaries: _Summaries = field(default_factory=_Summaries)
    _kernel_drops: int = 0

    def on_event(self, event: Event | ReceiveFailed) -> None:
        """Take what happened to a stream or to the socket."""
        if isinstance(event, RecordsLost):
            self._add("lost", event.records, f", latest from {address_text(event.address)}")
        elif isinstance(event, SenderDropped):
            text = f", latest by {address_text(event.address)}"
            self._add("sender_dropped", event.records, text)
        elif isinstance(event, DatagramsRefused):
            self._refused.append(event.report)
        elif isinstance(event, StreamEnded):
            self._on_stream_ended(event.stats, event.reason)
        elif isinstance(event, ReceiveFailed):
            self._add("receive", 1, f", latest {event.name}")

    def on_handler_errors(self, count: int, error: BaseException) -> None:
        """Take records on which a handler raised; the error's text may hold a log line."""
        self._add("handler", count, f", latest {type(error).__name__}")

    def on_engine_error(self, error: BaseException) -> None:
        """Take a call to the engine that failed and will be made again."""
        self._add("engine", 1, f", latest {type(error).__name__}")

    def on_short_window(self, window: float, horizon: float) -> None:
        """Say that the engine forgets too early; both in seconds."""
        words = (
            "the engine forgets ids after %g s, senders may repeat for %g s: copies are possible"
        )
        self.log.warning(words, window, horizon)

    def on_rejected(self, count: int, reason: str, address: Address) -> None:
        """Take records that arrived and could not be delivered."""
        self._rejections.add(reason, source_of(address), count)

    def on_kernel_drops(self, total: int | None) -> None:
        """Take the kernel's counter as it stands."""
        if total is not None and total > self._kernel_drops:
            new, self._kernel_drops = total - self._kernel_drops, total
            self._add("kernel", new, "; a larger one helps (net.core.rmem_max)")

    def tell(self, *, closing: bool = False) -> None:
        """Write what is due; at the end, everything."""
        now = self.clock()
        self._tell_refusals(now, closing=closing)
        for pending in self._pending.values():
            if pending.count and (closing or now >= pending.not_before):
                self.log.warning(pending.words, pending.count, pending.detail)
                pending.count, pending.not_before = 0, now + QUIET_SECONDS
        summaries = self._summaries
        if summaries.omitted and (closing or now >= summaries.until):
            self.log.info("%d more streams ended", summaries.omitted)
            summaries.omitted = 0

    def _tell_refusals(self, now: float, *, closing: bool) -> None:
        while self._refused:
            self.log.warning("%s", _refusal_text("refused", "datagram", self._refused.pop(0)))
        rejected = self._rejections.rest(now) if closing else self._rejections.due(now)
        for report in rejected:
            self.log.warning("%s", _refusal_text("rejected", "record", report))

    def _add(self, kind: str, count: int, detail: str) -> None:
        pending = self._pending[kind]
        pending.count += count
        pending.detail = detail

    def _on_stream_ended(self, stats: StreamStats, reason: str) -> None:
        summaries, now = self._summaries, self.clock()
        if now >= summaries.until:
            summaries.told, summaries.until = 0, now + QUIET_SECONDS
        if summaries.told >= SUMMARIES_AT_ONCE:
            summaries.omitted += 1
            return
        summaries.told += 1
        failed = stats.lost or stats.missing or stats.sender_dropped or stats.rejected
        level = logging.WARNING if failed or stats.tail_unknown else logging.INFO
        self.log.log(level, "%s", _summary(stats, reason))


def _refusal_text(verb: str, what: str, report: Report) -> str:
    """What was refused, where it came from, why, and what to do about it."""
    named = [(_source_text(source), count) for source, count in report.sources]
    if report.others:
        named.append(("others", report.others))
    whence = ", ".join(f"{name} ({count})" for name, count in named)
    if len(named) == 1:
        whence = named[0][0]
    unit = what if report.count == 1 else f"{what}s"
    return f"{verb} {report.count} {unit} from {whence}, {explained(report.reason)}"


def _source_text(source: str) -> str:
    """A host as it is, a unix socket by its name."""
    is_host = source and source[0] not in "/\0"
    return source if is_host else address_text(source)


def _summary(stats: StreamStats, reason: str) -> str:
    """One line for a stream that ended: the counters of identity R, and what else is not zero."""
    numbers = {
        "delivered": stats.delivered,
        "lost": stats.lost + stats.missing,
        "rejected": sum(stats.rejected.values()),
        "dropped by the sender": stats.sender_dropped,
    }
    also = {
        "late": stats.late,
        "duplicates": stats.duplicates,
        "unseen before the start": stats.unseen_before_start,
        "abandoned": stats.abandoned,
        "unfinished": stats.pending,
    }
    numbers |= {name: number for name, number in also.items() if number}
    text = ", ".join(f"{number} {name}" for name, number in numbers.items())
    tail = "; its last records are not known" if stats.tail_unknown else ""
    where = address_text(stats.address)
    return f"stream {stats.stream_id:016x} from {where} ended ({reason}): {text}{tail}"
