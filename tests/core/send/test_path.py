"""What transmissions and answers tell about the path."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.path import Path
from batchudp_handler.core.send.window import AckOutcome, RetainedDatagram


def sent(*times: float) -> RetainedDatagram:
    """A datagram that was sent at these times."""
    datagram = RetainedDatagram(
        0, records=1, n_rec=1, end_rec=1, data=b"x", size=1, sealed=times[0]
    )
    datagram.sent_count = len(times)
    datagram.first_sent, datagram.last_sent = times[0], times[-1]
    return datagram


def acked(path: Path, datagram: RetainedDatagram, now: float, *, is_open: bool = True) -> None:
    outcome = AckOutcome(newest=datagram, acked=[datagram], progress=True)
    path.on_acked(outcome, 0, now, is_open=is_open)


def path_with(*samples: float) -> Path:
    path = Path(SenderCounters(), 1_400)
    for sample in samples:
        path.rtt.add_sample(sample)
    return path


def test_a_datagram_sent_once_gives_a_sample() -> None:
    """Karn's rule, the side that counts."""
    path = path_with()
    acked(path, sent(1.0), 1.25)
    assert path.rtt.smoothed == 0.25


def test_a_datagram_sent_twice_gives_none() -> None:
    """Karn's rule: nobody knows which transmission was answered."""
    path = path_with(0.1)
    acked(path, sent(1.0, 2.0), 2.09)
    assert path.rtt.smoothed == 0.1


def test_an_answer_after_an_outage_gives_none() -> None:
    """The minute in which nobody answered is no round trip."""
    path = path_with(0.1)
    acked(path, sent(1.0), 61.0, is_open=False)
    assert path.rtt.smoothed == 0.1


def test_a_late_answer_counts_in_part() -> None:
    """After the probe timer expired the first ack may just have been lost."""
    path = path_with(0.01)
    path.timer.on_expired(1.0)
    acked(path, sent(0.0), 5.0)
    assert path.rtt.smoothed is not None
    assert path.rtt.smoothed < 0.02


def test_a_probe_that_was_answered_casts_doubt_on_the_rest() -> None:
    """Losses wait as long as the first transmission's answer may have taken."""
    path = path_with(0.01)
    path.timer.on_expired(1.0)
    acked(path, sent(0.0, 1.0), 1.5)
    assert path.rtt.doubt == 1.5
    acked(path, sent(1.5), 1.51)
    assert path.rtt.doubt == 0.0


@pytest.mark.parametrize(("now", "spurious"), [(2.02, 1), (2.2, 0)])
def test_spurious_losses_are_told_from_true_ones(now: float, spurious: int) -> None:
    """An answer much faster than any round trip was for the first transmission."""
    counters = SenderCounters()
    path = Path(counters, 1_400)
    path.rtt.add_sample(0.1)
    datagram = sent(1.0, 2.0)
    datagram.was_lost = True
    acked(path, datagram, now)
    assert counters.spurious == spurious
