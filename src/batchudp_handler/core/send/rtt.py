"""The round-trip time: how long an answer takes, and when it is overdue.

RFC 9002 smoothing (section 5.3) with three differences, each forced by datagrams that keep their
sequence number when they are sent again:

* Karn's rule: only a datagram that was sent exactly once gives a sample. The caller says so.
* After a jump of the path's delay no datagram may be unambiguous any more, because each is probed
  before its answer can be back. The answer to a datagram that was sent more than once still
  bounds the round trip from below, so it may raise the estimate, never lower it.
* Loss is declared by time only. Where datagrams overtake one another the time threshold grows
  with each loss that turns out to be none, and shrinks again with real ones (the idea of RACK,
  RFC 8985 section 6.2).

The probe timeout has no delay of the peer in it: receivers answer when their socket is drained.
Its doubling is capped, because a doubling without a cap never finishes at 50 % loss.
"""

from __future__ import annotations

__all__ = ["GRANULARITY", "INITIAL_PROBE_TIMEOUT", "RttEstimator"]

INITIAL_PROBE_TIMEOUT = 0.67
"""Seconds: twice the initial round trip of RFC 9002 section 6.2.2."""

GRANULARITY = 0.010
"""Seconds that an answer may be late for reasons of scheduling on either machine."""

MIN_BACKOFF_CAP = 0.5
"""Seconds: on a fast path the doubled timeout may at least grow to this."""

UNKNOWN_RTT_CAP = 3.0
"""Seconds: the cap while no round trip has been measured."""

TIME_THRESHOLD = 1.125
"""In round trips (RFC 9002 section 6.1.2): later than this, and overtaken, means lost."""

MAX_TIME_THRESHOLD = 8.0
MIN_LOSS_RTT = 0.002
"""Seconds: a shorter round trip is taken for this, or jitter of 0.1 ms would look like loss."""

UNDECIDED_SHARE = 0.8
"""An answer within this share of the shortest round trip belongs to an earlier transmission."""


class RttEstimator:
    """The smoothed round-trip time of one path, and the two timeouts made from it."""

    __slots__ = ("doubt", "latest", "minimum", "smoothed", "threshold", "variation")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """Seconds; None until the first sample."""
        self.variation = 0.0
        self.latest = 0.0
        self.minimum = 0.0
        self.threshold = TIME_THRESHOLD
        self.doubt = 0.0
        """Seconds: the round trip may be so long, if the latest ack answered not the last but the
        first transmission of its datagram."""

    def add_sample(self, sample: float) -> None:
        """Take the time from the only transmission of a datagram to its acknowledgement."""
        sample = max(sample, 0.0)
        self.latest = sample
        if self.smoothed is None:
            self.smoothed = self.minimum = sample
            self.variation = sample / 2
            return
        self.minimum = min(self.minimum, sample)
        # RFC 9002 section 5.3: the variation first, against the old smoothed value
        self.variation = 0.75 * self.variation + 0.25 * abs(self.smoothed - sample)
        self.smoothed = 0.875 * self.smoothed + 0.125 * sample

    def add_late_sample(self, elapsed: float) -> None:
        """Take a sample that comes after the probe timer has expired.

        Either the path has become slower, or the first ack was lost and a later one took its
        place. So it may raise the estimate, by steps.
        """
        known = INITIAL_PROBE_TIMEOUT if self.smoothed is None else self.smoothed
        self.add_sample(min(elapsed, 4 * known + GRANULARITY))

    def add_lower_bound(self, elapsed: float) -> None:
        """Take the time since the last of several transmissions of a datagram, at its ack.

        Where acks are lost as well it is no bound at all, so it counts within limits only: or
        longer timeouts would make longer times, and those longer timeouts.
        """
        if self.smoothed is not None and self.smoothed < elapsed <= MIN_BACKOFF_CAP:
            self.add_sample(min(elapsed, 2 * self.smoothed + GRANULARITY))

    def is_answer_to_earlier(self, elapsed: float) -> bool:
        """Return whether `elapsed` is too short for an answer to the latest transmission."""
        return self.smoothed is not None and elapsed < UNDECIDED_SHARE * self.minimum

    def on_spurious_loss(self) -> None:
        """Wait longer from now on: a datagram that was declared lost had only been overtaken."""
        self.threshold = min(self.threshold * 1.25, MAX_TIME_THRESHOLD)

    def on_true_loss(self) -> None:
        """Wait a little less: a datagram that was declared lost really was."""
        self.threshold = max(self.threshold * 0.98, TIME_THRESHOLD)

    @property
    def loss_delay(self) -> float:
        """The seconds after which a datagram that an acked one overtook counts as lost."""
        known = INITIAL_PROBE_TIMEOUT / 2 if self.smoothed is None else self.smoothed
        return self.threshold * max(known, self.latest, MIN_LOSS_RTT, self.doubt)

    def probe_timeout(self, expiries: int = 0) -> float:
        """Return the seconds to wait for an answer, after `expiries` waits without progress."""
        if self.smoothed is None:
            return min(INITIAL_PROBE_TIMEOUT * 2.0 ** min(expiries, 10), UNKNOWN_RTT_CAP)
        base = self.smoothed + max(4 * self.variation, GRANULARITY)
        return min(base * 2.0 ** min(expiries, 10), max(MIN_BACKOFF_CAP, 2 * base))
