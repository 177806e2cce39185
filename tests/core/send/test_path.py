"""What transmissions and answers tell about the path."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.path import Path
from batchudp_handler.core.send.window import AckOutcome, RetainedDatagram, SendWindow


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


def test_an_outage_begins_the_window_anew() -> None:
    """What the path took before it says nothing any more."""
    path = path_with(0.1)
    initial = path.congestion.window
    path.congestion.on_acked(10_000, initial)
    path.rtt.doubt = 1.0
    path.restart()
    assert path.congestion.window == initial
    assert path.rtt.doubt == 0.0


def test_another_size_is_judged_by_itself() -> None:
    """A suspicion about the old one is forgotten."""
    path = path_with()
    for number in range(20):
        path.on_sent(sized(1_400), number * 0.3)
        path.black_hole.on_answer(1_000)
    assert path.black_hole.suspected_size(6.0) == 1_200
    path.set_datagram_size(1_200)
    assert path.black_hole.suspected_size(6.0) is None


def sized(size: int) -> RetainedDatagram:
    return RetainedDatagram(0, records=1, n_rec=1, end_rec=1, data=b"", size=size, sealed=0.0)


def test_an_answer_without_progress_does_not_end_the_backoff() -> None:
    """Nor does it tell a round trip."""
    path = path_with()
    path.timer.on_expired(1.0)
    path.on_acked(AckOutcome(), 0, 2.0, is_open=True)
    assert path.timer.is_backed_off
    assert path.rtt.smoothed is None


def test_what_is_lost_halves_the_window_and_is_remembered() -> None:
    """A datagram that was overtaken by an acked one and is overdue; nothing else."""
    path, window = path_with(0.1), SendWindow()
    for seq in range(3):
        window.append(
            RetainedDatagram(seq, records=1, n_rec=1, end_rec=seq + 1, data=b"", size=1, sealed=0)
        )
    for each in list(window):
        window.on_sent(each, 0.0)
    path.congestion.on_acked(1 << 20, 1 << 20)
    before = path.congestion.window
    assert path.detect_lost(window, 0.05) == []
    window.on_ack(0, 0b010)
    lost = path.detect_lost(window, 0.2)
    assert [each.seq for each in lost] == [0]
    assert lost[0].was_lost
    assert path.congestion.window == before // 2


def test_a_loss_of_what_was_never_sent_again_was_none() -> None:
    """Its answer was only late: wait longer from now on, and count no copy."""
    path = path_with(0.1)
    datagram = sent(1.0)
    datagram.was_lost = True
    before = path.rtt.threshold
    acked(path, datagram, 1.3)
    assert path.rtt.threshold > before
