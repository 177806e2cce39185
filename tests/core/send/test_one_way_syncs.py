"""The times of a one-way stream's SYNCs, and its goodbyes."""

from __future__ import annotations

import pytest

from batchudp_handler.core.send.one_way_syncs import OneWaySyncs


def started(now: float = 0.0) -> OneWaySyncs:
    syncs = OneWaySyncs()
    syncs.start(now)
    return syncs


def test_the_first_is_due_at_once_and_only_once() -> None:
    """Records that come later do not start the stream again."""
    assert not OneWaySyncs().is_due(1e9)
    syncs = started(5.0)
    assert syncs.is_due(5.0)
    syncs.on_sent(5.0, is_goodbye=False)
    syncs.start(6.0)
    assert syncs.at == 15.0


def test_they_grow_rarer_until_there_is_data() -> None:
    """After 10 s, then each minute; a second after DATA, and at least each 10 s while it flows."""
    syncs = started()
    promised = []
    for now in (0.0, 10.0, 70.0):
        syncs.on_sent(now, is_goodbye=False)
        promised.append(syncs.at)
    assert promised == [10.0, 70.0, 130.0]
    syncs.on_data_sent(75.0)
    assert syncs.at == 76.0
    assert syncs.interval == 10.0
    syncs.on_data_sent(79.9)
    assert syncs.at == 80.0


def test_news_is_told_a_second_after_the_last() -> None:
    """A stream without SYNCs tells none."""
    syncs = started()
    syncs.on_sent(0.0, is_goodbye=False)
    syncs.tell_soon(0.2)
    assert syncs.at == 1.0
    syncs.on_sent(1.0, is_goodbye=False)
    syncs.tell_soon(9.0)
    assert syncs.at == 9.0
    silent = OneWaySyncs()
    silent.tell_soon(0.0)
    silent.on_data_sent(0.0)
    assert silent.at is None


@pytest.mark.parametrize("is_refused", [False, True])
def test_two_goodbyes_whether_they_are_taken_or_not(is_refused: bool) -> None:
    """50 ms apart; closing twice says no more."""
    syncs = started()
    syncs.on_sent(0.0, is_goodbye=False)
    assert not syncs.is_goodbye_due(0.0)
    assert syncs.goodbye_at is None
    syncs.close()
    assert syncs.is_goodbye_due(0.0)
    note = syncs.on_refused if is_refused else syncs.on_sent
    note(0.0, is_goodbye=True)
    syncs.close()
    assert syncs.goodbye_at == 0.05
    assert not syncs.is_goodbye_due(0.04)
    assert syncs.is_goodbye_due(0.05)
    note(0.05, is_goodbye=True)
    assert syncs.goodbyes == 0
    assert not syncs.is_goodbye_due(9.0)


def test_a_refused_one_comes_again_a_second_later() -> None:
    """With what there is to tell then."""
    syncs = started()
    syncs.on_refused(3.0, is_goodbye=False)
    assert syncs.at == 4.0


def test_a_stream_that_sent_nothing_says_no_goodbye() -> None:
    """Nor does one that is given up."""
    silent = OneWaySyncs()
    silent.close()
    assert silent.goodbyes == 0
    syncs = started()
    syncs.close()
    syncs.end()
    assert not syncs.is_goodbye_due(9.0)
