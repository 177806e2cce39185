"""The path to the receiver, as transmissions and answers show it.

One place that feeds the estimators from what was sent and acked: round trip, congestion window,
probe timer, black hole. The only thing that it decides about datagrams is which are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.black_hole import BlackHoleDetector
from batchudp_handler.core.send.congestion import CongestionController
from batchudp_handler.core.send.probe_timer import ProbeTimer
from batchudp_handler.core.send.rtt import RttEstimator

if TYPE_CHECKING:
    from batchudp_handler.core.send.counters import SenderCounters
    from batchudp_handler.core.send.window import AckOutcome, RetainedDatagram, SendWindow

__all__ = ["Path"]


class Path:
    """The estimators of one path."""

    def __init__(self, counters: SenderCounters, max_datagram_size: int) -> None:
        self.rtt = RttEstimator()
        self.congestion = CongestionController(max_datagram_size)
        self.timer = ProbeTimer(self.rtt)
        self.black_hole = BlackHoleDetector()
        self._counters = counters

    def set_datagram_size(self, size: int) -> None:
        """Use another size, about which the old one says nothing."""
        self.black_hole = BlackHoleDetector()
        self.congestion.set_datagram_size(size)

    def restart(self) -> None:
        """Have no more in flight than at the beginning, after an outage."""
        self.congestion.reset()
        self.rtt.doubt = 0.0

    def on_sent(self, datagram: RetainedDatagram, now: float) -> None:
        """Note that DATA was sent."""
        self.timer.restart(now)
        self.black_hole.on_sent(datagram.size, now)

    def on_acked(
        self, outcome: AckOutcome, bytes_in_flight: int, now: float, *, is_open: bool
    ) -> None:
        """Take what one ack changed.

        Args:
            outcome: What it changed in the window.
            bytes_in_flight: What was in flight before it.
            now: The time.
            is_open: Whether DATA was being sent; an answer after an outage tells no round trip.
        """
        if outcome.newest is not None and is_open:
            self._take_sample(outcome.newest, now)
        if outcome.progress:
            self.timer.on_progress(now)
        for each in outcome.acked:
            self.black_hole.on_acked(each.size)
            if each.was_lost:
                self._judge_loss(each, now)
        self.congestion.on_acked(outcome.acked_bytes, bytes_in_flight)

    def _take_sample(self, newest: RetainedDatagram, now: float) -> None:
        elapsed = now - newest.last_sent
        if newest.sent_count == 1:
            if self.timer.is_backed_off:
                self.rtt.add_late_sample(elapsed)
            else:
                self.rtt.add_sample(elapsed)
        elif not self.rtt.is_answer_to_earlier(elapsed):
            self.rtt.add_lower_bound(elapsed)
        # Do not take the rest of the window for lost because a probe of its first datagram was
        # answered. If the path has become slower, what was answered is not the probe, and the
        # answers to the rest are on their way.
        is_doubtful = newest.sent_count > 1 and self.timer.is_backed_off
        self.rtt.doubt = now - newest.first_sent if is_doubtful else 0.0

    def _judge_loss(self, datagram: RetainedDatagram, now: float) -> None:
        is_unsent = datagram.sent_count < 2
        if is_unsent or self.rtt.is_answer_to_earlier(now - datagram.last_sent):
            self._counters.spurious += not is_unsent
            self.rtt.on_spurious_loss()
        else:
            self.rtt.on_true_loss()

    def detect_lost(self, window: SendWindow, now: float) -> list[RetainedDatagram]:
        """Queue what is lost, take it for a sign of congestion, and return it."""
        lost = window.detect_lost(now, self.rtt.loss_delay)
        if lost:
            for each in lost:
                each.was_lost = True
            self.congestion.on_lost(lost[-1].order, window.next_order)
        return lost
