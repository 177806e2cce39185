"""One run of `batchudp-send`: a handler, a source of records, progress, and a summary."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from batchudp_handler.cli.ending import Ending
from batchudp_handler.cli.input import Pace, generate_samples, line_records, lines_of
from batchudp_handler.cli.parser import ExitCode
from batchudp_handler.cli.report import numbers_of, stats_json, summary_text, write_line
from batchudp_handler.cli.send_config import PROGRAM, Loaded
from batchudp_handler.handler import BatchUDPHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.core.send.stats import SenderStats

__all__ = ["Sending", "sender_summary"]


ONE_WAY_LINES_PER_SECOND = 20_000


FLUSH_STEP_SECONDS = 0.5


PROGRESS_SECONDS = 0.5


STOP_SECONDS = 0.1
"""Time for the thread that makes records to notice that no more are wanted."""


class Sending:
    """One run: a handler, a source, progress, and the end."""

    def __init__(self, loaded: Loaded) -> None:
        self._config = loaded.handler
        self._script = loaded.script
        self._handler = BatchUDPHandler.from_config(loaded.handler)
        self._has_ended = threading.Event()
        self._can_end = threading.Event()
        self._is_summed_up = False
        self._error: Exception | None = None

    def run(self) -> int:
        """Ship everything, or what there is until a signal; the exit code."""
        progress = threading.Thread(target=self._show_progress, daemon=True)
        if sys.stderr.isatty():
            progress.start()
        seconds = self._config.shutdown_timeout
        Ending(seconds, on_end=self._can_end.set, last_words=self._last_words).follow()
        shipping = threading.Thread(target=self._ship_all, name="batchudp-shipping", daemon=True)
        shipping.start()
        self._can_end.wait()
        self._has_ended.set()
        shipping.join(STOP_SECONDS)
        self._handler.close()
        code = self._last_words()
        if shipping.is_alive():  # it may read what never comes, and holds what it reads from
            os._exit(code)
        if self._error is not None and not isinstance(self._error, OSError):
            raise self._error
        return code

    def _ship_all(self) -> None:
        """Ship everything on a thread of its own; the main thread waits for a signal as well."""
        try:
            self._ship()
            self._wait_until_sent()
        except OSError as error:
            write_line(sys.stderr, PROGRAM, f"{error.filename}: {error.strerror}")
            self._error = error
        except Exception as error:  # noqa: BLE001  # raised again by the main thread
            self._error = error
        finally:
            self._can_end.set()

    def _ship(self) -> None:
        script = self._script
        if not script.file:
            self._ship_samples()
            return
        most = script.max_rate
        if most is None and self._config.delivery == "one_way":
            most = ONE_WAY_LINES_PER_SECOND
        pace = Pace(most) if most else None
        if script.line_level < self._config.level:
            return
        for path in script.file:
            lines = lines_of(path, follow=script.follow)
            for record in line_records(lines, name=script.logger, levelno=script.line_level):
                if pace is not None:
                    pace.wait()
                if self._has_ended.is_set():
                    return
                self._handler.handle(record)

    def _ship_samples(self) -> None:
        log = logging.getLogger(self._script.logger)
        log.propagate = False
        log.setLevel(max(self._config.level, 1))
        log.addHandler(self._handler)
        generate_samples(
            log,
            rate=self._script.logs_per_second,
            run_time=self._script.run_time,
            has_ended=self._has_ended.is_set,
        )

    def _wait_until_sent(self) -> None:
        """Wait as long as records leave: a slow receiver is not one that is gone."""
        last, since = -1, time.monotonic()
        step = min(FLUSH_STEP_SECONDS, self._script.give_up_after)
        while not self._handler.flush(step):
            stats = self._handler.stats()
            done = stats.sent + stats.confirmed + stats.rejected_by_receiver
            if done != last:
                last, since = done, time.monotonic()
            elif time.monotonic() - since > self._script.give_up_after:
                return

    def _last_words(self) -> int:
        """Sum up, once; the exit code."""
        stats = self._handler.stats()
        code = ExitCode.UNAVAILABLE if _is_short(stats) else ExitCode.OK
        if isinstance(self._error, OSError):
            code = ExitCode.NO_INPUT
        if self._is_summed_up:
            return code
        self._is_summed_up = True
        if self._script.summary == "json":
            print(stats_json(stats), file=sys.stderr)
        else:
            write_line(sys.stderr, PROGRAM, sender_summary(stats))
        return code

    def _show_progress(self) -> None:
        while not self._has_ended.wait(PROGRESS_SECONDS):
            stats = self._handler.stats()
            done = stats.sent + stats.confirmed
            dropped = sum(stats.dropped.values())
            per_second = done / stats.uptime if stats.uptime else 0.0
            text = f"{done:,} of {stats.accepted:,} sent, {per_second:,.0f}/s, {dropped:,} dropped"
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")


def _is_short(stats: SenderStats) -> bool:
    """Return whether anything is neither sent nor on disk, whatever it is counted under."""
    return stats.accepted > stats.sent + stats.confirmed + stats.spooled


SUMMARY: Mapping[str, str] = {
    "accepted": "accepted",
    "sent": "sent",
    "confirmed": "confirmed",
    "rejected by the receiver": "rejected_by_receiver",
    "unconfirmed": "unconfirmed",
    "spooled": "spooled",
    "waiting": "waiting",
    "retained": "retained",
    "dropped": "dropped",
    "truncated": "truncated",
    "datagrams": "datagrams_sent",
    "bytes": "bytes_sent",
    "send errors": "send_errors",
    "batch size": "batch_size",
    "send time in seconds": "send_time",
    "flushes": "flushes",
    "seconds": "uptime",
}
"""The words of the summary and the counters behind them; the first nine after `accepted` add up to
it, as `SenderStats` says."""


def sender_summary(stats: SenderStats) -> str:
    """Return what was shipped, what was not and why, and how it went."""
    why = f"; latest error: {stats.last_error}" if stats.last_error else ""
    return summary_text(numbers_of(stats, SUMMARY)) + why
