"""The messages that a receiver writes about itself, at a bounded rate.

Warnings on the logger `batchudp.receiver`: records lost on the way, records that senders dropped,
datagrams that the kernel dropped, datagrams and records that were refused, handlers that raised;
and one line for each sender that leaves. Whoever can send datagrams could make a receiver talk
without end, so each kind of message appears at once and then at most every ten seconds, refusals
at most once a minute for each reason, with what has come together meanwhile.

Only the worker thread calls this, because the operator's handlers may be slow. One that raises
ends nothing: the guard writes the message to standard error instead.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import explained
from batchudp_handler.core.receive.admission import source_of
from batchudp_handler.core.receive.events import (
    AddressShared,
    DatagramsRefused,
    RecordsLost,
    SenderDropped,
    StreamEnded,
)
from batchudp_handler.core.receive.refusals import Refusals
from batchudp_handler.receiver.guard import Guard, Loop, Seam, error_text
from batchudp_handler.receiver.receive_socket import address_text
from batchudp_handler.receiver.reemit import DIAGNOSTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batchudp_handler.core.receive.events import Address, Event
    from batchudp_handler.core.receive.refusals import Report
    from batchudp_handler.core.receive.stats import StreamStats
    from batchudp_handler.receiver.guard import Trouble

__all__ = ["Diagnostics", "ReceiveFailed"]

QUIET_SECONDS = 10.0
MOST_KINDS = 64
"""Messages that are counted apart; handlers and places beyond this share one for each seam."""
SUMMARIES_AT_ONCE = 20
TROUBLES: Mapping[Seam, str] = {
    Seam.HANDLER: "a local handler raised on %d records%s",
    Seam.RECORD_FACTORY: "the record factory raised on %d records, made without it%s",
    Seam.AFTER_BATCH: "an output failed after %d batches%s",
    Seam.BETWEEN_BATCHES: "functions called between batches raised errors %d times%s",
    Seam.ON_READER: "functions called on the reader raised errors %d times%s",
    Seam.WORKER: "the worker of new_worker raised %d times%s",
    Seam.CLOCK: "the clock raised %d times%s",
    Seam.TAP: "%d records could not be shown to clients of tap%s",
    Seam.ANSWER: "answers of the control socket raised %d times%s",
    Seam.METRICS: "the metrics page raised %d times%s",
}
"""How an error at each seam is told; those of `Seam.DIAGNOSTICS` go to standard error."""
LOOP_FAILED = "%%d internal errors in the loop %s, which continues%%s"
UNHANDLED = (
    "%d records found no handler, latest from logger %r: give the root logger one, "
    "by logging.basicConfig() or under 'root' in the logging configuration"
)


SHARED = (
    "another receiver gets a share of what is sent here (%d signs%s): run one receiver for a port "
    "(more processes: batchudp-receive --workers), or have the balancer keep each sender with one"
)


@dataclass(frozen=True, slots=True)
class ReceiveFailed:
    """An error of the socket, or a mistake of ours in the loop."""

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
    """The number of streams that were summed up in this period, and of the others."""

    told: int = 0
    omitted: int = 0
    until: float = 0.0


@dataclass(slots=True)
class Diagnostics:
    """The messages that wait to be told, and when each may be."""

    clock: Callable[[], float]
    guard: Guard = field(default_factory=Guard)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(DIAGNOSTICS))
    _pending: dict[str, _Pending] = field(
        default_factory=lambda: {
            "lost": _Pending("%d records lost on the way%s"),
            "sender_dropped": _Pending("%d records dropped by their senders%s"),
            "kernel": _Pending("%d datagrams dropped by the kernel's receive buffer%s"),
            "receive": _Pending("receiving failed %d times%s"),
            "shared": _Pending(SHARED),
            "engine": _Pending("the engine did not take a batch %d times%s"),
            "engine_away": _Pending("the engine did not answer %d times%s"),
        }
    )
    _refused: list[Report] = field(default_factory=list)
    _rejections: Refusals = field(default_factory=Refusals)
    _summaries: _Summaries = field(default_factory=_Summaries)
    _kernel_drops: int = 0
    _has_told_unhandled: bool = False

    def on_event(self, event: Event | ReceiveFailed) -> None:
        """Take what happened to a stream or to the socket."""
        if isinstance(event, RecordsLost):
            self._add("lost", event.records, f", latest from {address_text(event.address)}")
        elif isinstance(event, SenderDropped):
            text = f", latest by {address_text(event.address)}"
            self._add("sender_dropped", event.records, text)
        elif isinstance(event, AddressShared):
            self._add("shared", 1, f", latest by {address_text(event.address)}")
        elif isinstance(event, DatagramsRefused):
            self._refused.append(event.report)
        elif isinstance(event, StreamEnded):
            self._on_stream_ended(event.stats, event.reason)
        elif isinstance(event, ReceiveFailed):
            self._add("receive", 1, f", latest {event.name}")

    def on_unhandled(self, count: int, name: str) -> None:
        """Say once that records reach no handler, and what to do about it."""
        if not self._has_told_unhandled:
            self._has_told_unhandled = True
            self._warn(UNHANDLED, count, name)

    def on_engine_error(self, error: BaseException) -> None:
        """Take a call to the engine that failed and will be made again."""
        self._add("engine", 1, f", latest {error_text(error)}")

    def on_engine_away(self, error: BaseException) -> None:
        """Take an attempt to reach the engine that failed and will be made again."""
        self._add("engine_away", 1, f", latest {error_text(error)}")

    def on_short_window(self, window: float, horizon: float) -> None:
        """Say that the engine forgets too early; both in seconds."""
        words = (
            "the engine forgets ids after %g s, senders may repeat for %g s: copies are possible"
        )
        self._warn(words, window, horizon)

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
        for trouble in self.guard.take_untold():
            self._on_trouble(trouble)
        now = self.clock()
        self._tell_refusals(now, closing=closing)
        for pending in self._pending.values():
            if pending.count and (closing or now >= pending.not_before):
                count, pending.count, pending.not_before = pending.count, 0, now + QUIET_SECONDS
                self._warn(pending.words, count, pending.detail)
        summaries = self._summaries
        if summaries.omitted and (closing or now >= summaries.until):
            omitted, summaries.omitted = summaries.omitted, 0
            self.guard.say(self.log, logging.DEBUG, "%d more streams ended", omitted)

    def _on_trouble(self, trouble: Trouble) -> None:
        where, text = trouble.seam, trouble.text
        kind = f"{where} {trouble.place}"
        if len(self._pending) >= MOST_KINDS and kind not in self._pending:
            kind = f"{where} "
        words = LOOP_FAILED % where if isinstance(where, Loop) else TROUBLES[where]
        self._pending.setdefault(kind, _Pending(words))
        place = f" in {trouble.place}" if trouble.place else ""
        self._add(kind, trouble.count, f", latest {text}{place}")

    def _tell_refusals(self, now: float, *, closing: bool) -> None:
        while self._refused:
            self._warn("%s", _refusal_text("refused", "datagram", self._refused.pop(0)))
        rejected = self._rejections.rest(now) if closing else self._rejections.due(now)
        for report in rejected:
            self._warn("%s", _refusal_text("rejected", "record", report))

    def _warn(self, words: str, *args: object) -> None:
        self.guard.say(self.log, logging.WARNING, words, *args)

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
        self.guard.say(self.log, _level(stats, reason), "%s", _summary(stats, reason))


def _refusal_text(verb: str, what: str, report: Report) -> str:
    """Say what was refused, where it came from, why, and what to do about it."""
    named = [(_source_text(source), count) for source, count in report.sources]
    if report.others:
        named.append(("others", report.others))
    whence = ", ".join(f"{name} ({count})" for name, count in named)
    if len(named) == 1:
        whence = named[0][0]
    unit = what if report.count == 1 else f"{what}s"
    return f"{verb} {report.count} {unit} from {whence}, {explained(report.reason)}"


def _source_text(source: str) -> str:
    """Return a host as it is, a unix socket by its name."""
    is_host = source and source[0] not in "/\0"
    return source if is_host else address_text(source)


def _level(stats: StreamStats, reason: str) -> int:
    """Return the level of a summary: a warning if something is missing."""
    if stats.lost or stats.missing or stats.sender_dropped or stats.rejected:
        return logging.WARNING
    if stats.tail_unknown:  # at our own end that is no news: most senders live on
        return logging.INFO if reason == "shutdown" else logging.WARNING
    return logging.DEBUG


def _summary(stats: StreamStats, reason: str) -> str:
    """Return one line for a stream that ended: identity R, and what else is not zero."""
    lost = stats.lost + stats.missing
    numbers = {
        "delivered": stats.delivered,
        "lost": lost,
        "rejected": sum(stats.rejected.values()),
        "dropped by the sender": stats.sender_dropped,
    }
    if stats.tail_unknown and not lost:
        del numbers["lost"]  # not known, rather than none
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
