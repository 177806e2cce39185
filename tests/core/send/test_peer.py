"""Which receiver is alive: challenges and ACKs of several lives, in every order they can take."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from batchudp_handler.core.send.peer import REMEMBERED_EPOCHS, Peer, Verdict
from batchudp_handler.core.wire.ack import Ack

OLD, NEW = 11, 22


def challenge(peer: Peer, epoch: int) -> Verdict:
    return peer.on_challenge(Ack(receiver_epoch=epoch, cookie=bytes([epoch % 256]) * 16))


def answer(peer: Peer, epoch: int, counter: int = 0) -> Verdict:
    """Let an ACK arrive, and adopt its receiver if it is a new one."""
    ack = Ack(receiver_epoch=epoch)
    verdict = peer.judge(counter, ack)
    if verdict is Verdict.NEW_RECEIVER:
        peer.adopt(epoch)
    if verdict in (Verdict.NEW_RECEIVER, Verdict.CURRENT):
        peer.update(counter, ack)
    return verdict


def test_a_late_challenge_of_a_dead_receiver_does_not_lock_out_the_living_one() -> None:
    """Two challenges overtake each other: the living receiver may challenge again and answer."""
    peer = Peer()
    assert challenge(peer, NEW) is Verdict.NEW_RECEIVER
    assert challenge(peer, OLD) is Verdict.NEW_RECEIVER
    assert challenge(peer, NEW) is Verdict.CURRENT
    assert peer.cookie == bytes([NEW]) * 16
    assert answer(peer, NEW) is Verdict.NEW_RECEIVER
    assert answer(peer, NEW, 1) is Verdict.CURRENT


def test_the_answer_of_the_living_receiver_counts_after_a_late_challenge() -> None:
    """Its ACK was under way when the dead one's challenge came in between."""
    peer = Peer()
    challenge(peer, NEW)
    challenge(peer, OLD)
    assert answer(peer, NEW) is Verdict.NEW_RECEIVER


def test_a_late_answer_of_a_dead_receiver_does_not_lock_out_the_living_one() -> None:
    """The dead one's first ACK comes between the living one's challenge and its ACK."""
    peer = Peer()
    challenge(peer, OLD)
    challenge(peer, NEW)
    assert answer(peer, OLD) is Verdict.NEW_RECEIVER
    assert challenge(peer, NEW) is Verdict.CURRENT
    assert answer(peer, NEW) is Verdict.NEW_RECEIVER
    assert answer(peer, OLD, 9) is Verdict.STALE


def test_who_challenged_before_the_one_that_answers_is_gone() -> None:
    """Neither its ACKs nor its challenges count any more."""
    peer = Peer()
    challenge(peer, OLD)
    challenge(peer, NEW)
    answer(peer, NEW)
    assert answer(peer, OLD) is Verdict.STALE
    assert challenge(peer, OLD) is Verdict.STALE
    assert peer.epoch == NEW
    assert peer.cookie == bytes([NEW]) * 16


def test_challenges_without_an_answer_are_remembered_in_bounded_memory() -> None:
    """A flood of made-up epochs neither grows anything nor displaces the current receiver."""
    peer = Peer()
    challenge(peer, OLD)
    answer(peer, OLD)
    for epoch in range(100, 100 + 5 * REMEMBERED_EPOCHS):
        challenge(peer, epoch)
    assert len(peer._challenged) == REMEMBERED_EPOCHS
    assert answer(peer, OLD, 1) is Verdict.CURRENT
    assert challenge(peer, NEW) is Verdict.NEW_RECEIVER
    assert answer(peer, NEW) is Verdict.NEW_RECEIVER


def test_only_news_of_the_current_receiver_counts() -> None:
    """An ACK that is not newer than the last is a replay."""
    peer = Peer()
    challenge(peer, OLD)
    counters = count()
    assert answer(peer, OLD, next(counters)) is Verdict.NEW_RECEIVER
    assert answer(peer, OLD, next(counters)) is Verdict.CURRENT
    assert answer(peer, OLD, 1) is Verdict.REPLAYED


def test_a_receiver_is_new_until_it_has_answered() -> None:
    """Its challenge was taken up, and nothing more is known of it."""
    peer = Peer()
    assert not peer.is_new
    challenge(peer, OLD)
    assert peer.is_new
    answer(peer, OLD)
    assert not peer.is_new


def test_counts_that_begin_again_mean_that_the_stream_was_forgotten() -> None:
    """They are told modulo 2**32, so small steps back are steps back and large ones are not."""
    peer = Peer()
    challenge(peer, OLD)
    answer(peer, OLD)
    ack = Ack(receiver_epoch=OLD, delivered_records=90, rejected_records=10, floor=5, credit=7)
    assert peer.update(1, ack) == 10
    assert not peer.has_forgotten(ack)
    assert peer.has_forgotten(replace(ack, delivered_records=0, rejected_records=0))
    assert not peer.has_forgotten(replace(ack, delivered_records=89 + (1 << 31)))


def test_the_floor_never_falls() -> None:
    """An answer with an older one was under way for longer."""
    peer = Peer()
    challenge(peer, OLD)
    answer(peer, OLD)
    peer.update(1, Ack(receiver_epoch=OLD, floor=5, credit=7))
    peer.update(2, Ack(receiver_epoch=OLD, floor=3, closing=True))
    assert peer.floor == 5
    assert peer.has_no_place
