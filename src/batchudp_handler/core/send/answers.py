"""The answers of the receiver: which of them count, and what each changes.

Records are settled where the floor passes them. A receiver's first ACK, and one whose counts begin
again, say that nothing which was heard before holds any more: all that is retained is sent again,
oldest first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.send.peer import Verdict
from batchudp_handler.core.send.states import Event, State
from batchudp_handler.core.send.window import DatagramState

if TYPE_CHECKING:
    from batchudp_handler.core.send.connection import Connection
    from batchudp_handler.core.send.window import AckOutcome
    from batchudp_handler.core.wire.ack import Ack

__all__ = ["Answers"]

FORGOTTEN_AFTER = 50.0
"""Seconds: a receiver never forgets a stream that it has heard of within 60."""
ALTERNATION_SYNC = 0.25
"""Seconds until the SYNC from which two receivers of one address learn of each other."""


class Answers:
    """Takes ACKs and CHALLENGEs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counters = connection.counters
        self._peer = connection.peer
        self._answered_at = float("inf")
        self._unsettled_rejections = 0

    def receive(self, data: bytes, now: float) -> None:
        """Take an answer; count anything else."""
        connection = self._connection
        try:
            counter, ack = connection.stream.open_ack(data)
        except DecodeError as error:
            self._ignore(error.reason, now)
            return
        connection.alternation.on_answer(ack.receiver_epoch, now)
        if connection.alternation.is_suspected:
            connection.syncs.by(now + ALTERNATION_SYNC)
        if not connection.state.is_running:
            self._ignore(Reason.STALE, now)
        elif ack.cookie is not None:
            self._on_challenge(ack, now)
        else:
            self._on_ack(counter, ack, now)

    def _ignore(self, reason: str, now: float) -> None:
        self._counters.ignore(reason)
        if self._connection.trace is not None:
            self._connection.trace(now, "answer_ignored", reason=str(reason))

    def _on_challenge(self, ack: Ack, now: float) -> None:
        is_news = ack.cookie != self._peer.cookie
        verdict = self._peer.on_challenge(ack)
        if verdict is Verdict.STALE:
            self._ignore(Reason.STALE, now)
            return
        connection = self._connection
        if connection.trace is not None:
            connection.trace(now, "challenge_received", receiver=f"{ack.receiver_epoch:016x}")
        self._on_heard()
        if verdict is Verdict.NEW_RECEIVER:
            # counted here and not at its first ACK, which it may not live to send
            self._count_resent()
            connection.handshake.on_new_receiver()
        elif now - self._answered_at > FORGOTTEN_AFTER:
            # the same receiver may have forgotten the stream, and with it what was not acked
            self._answered_at = now
            self._count_resent()
        if ack.receiver_epoch != self._peer.epoch:
            connection.state.on(Event.CHALLENGE, now)
            connection.probes.clear()
            if not connection.syncs.is_probing() or verdict is Verdict.NEW_RECEIVER:
                connection.syncs.probe(now)
        elif is_news:
            # another address: nothing that was sent from it was taken, or will be before the SYNC
            connection.handshake.on_new_address()
        connection.syncs.soon()

    def _on_ack(self, counter: int, ack: Ack, now: float) -> None:
        verdict = self._peer.judge(counter, ack)
        if verdict in (Verdict.STALE, Verdict.REPLAYED):
            self._ignore(verdict.value, now)
            return
        connection, window = self._connection, self._connection.window
        if connection.outbox.is_resumed:
            ack = _within(ack, window.sent_end)
        if max(ack.floor, ack.floor + ack.bitmap.bit_length()) > window.sent_end:
            self._ignore(Reason.SHAPE, now)
            return
        self._counters.acks_received += 1
        self._answered_at = now
        self._on_heard()
        if verdict is Verdict.NEW_RECEIVER:
            round_trip = connection.handshake.round_trip(now)
            if round_trip is not None:
                connection.path.rtt.add_sample(round_trip)
            self._begin_with_receiver(ack)
        elif self._peer.has_forgotten(ack):
            self._count_resent()
            self._begin_with_receiver(ack)
        self._apply(counter, ack, now)
        self._follow(ack, now)

    def _apply(self, counter: int, ack: Ack, now: float) -> None:
        connection, window = self._connection, self._connection.window
        in_flight = window.bytes_in_flight
        self._unsettled_rejections += self._peer.update(counter, ack)
        outcome = window.on_ack(ack.floor, ack.bitmap)
        self._requeue_unproven()
        self._settle(outcome)
        if connection.trace is not None:
            connection.trace(now, "ack_received", floor=ack.floor, credit=ack.credit)
            for each in outcome.acked:
                connection.trace(now, "datagram_acked", seq=each.seq)
        path = connection.path
        path.on_acked(outcome, in_flight, now, is_open=connection.state.is_open)
        path.black_hole.on_answer(ack.credit)
        connection.detect_lost(now)

    def _count_resent(self) -> None:
        self._counters.resent_to_new_receiver += sum(
            each.records
            for each in self._connection.window
            if each.sent_count and each.state is not DatagramState.ABANDONED
        )

    def _begin_with_receiver(self, ack: Ack) -> None:
        self._peer.adopt(ack.receiver_epoch)
        self._unsettled_rejections = 0
        self._connection.window.requeue_all()
        self._connection.path.restart()

    def _on_heard(self) -> None:
        self._peer.unanswered_since = None
        self._connection.path.timer.on_heard()
        self._connection.trouble.on_heard()

    def _requeue_unproven(self) -> None:
        """Send again what was on its way when the receiver asked for a proof of our address.

        Without this a path that changes its address often is never used: each probe would find
        the proof out of date.
        """
        order = self._connection.handshake.take_unproven_order()
        window = self._connection.window
        for each in window.in_flight_datagrams() if order else ():
            if each.order < order:
                window.requeue(each)

    def _settle(self, outcome: AckOutcome) -> None:
        """Share out the records that the floor passed.

        The count of rejections may run ahead of the floor; in the end both have seen the same.
        """
        rejected = min(self._unsettled_rejections, outcome.final_records)
        self._unsettled_rejections -= rejected
        self._counters.rejected_by_receiver += rejected
        self._counters.confirmed += outcome.final_records - rejected

    def _follow(self, ack: Ack, now: float) -> None:
        """Do what an ACK that was applied asks for."""
        connection = self._connection
        if ack.closing:
            # it finishes what it has and reads nothing more, or has no place for one more stream
            connection.leave(Event.REFUSAL, now)
        else:
            self._open(now)
        rtt = connection.path.rtt
        if connection.has_untold_floor and connection.syncs.is_older_than(
            rtt.probe_timeout(), now
        ):
            connection.syncs.soon()
        if connection.goodbyes:
            connection.state.on(Event.FAREWELL, now)
        elif connection.is_saying_goodbye:
            connection.syncs.soon()

    def _open(self, now: float) -> None:
        connection, window = self._connection, self._connection.window
        was_away = connection.state.state is State.AWAY
        if connection.state.on(Event.ANSWER, now):
            if was_away:
                for each in window.in_flight_datagrams():
                    window.requeue(each)
                connection.path.restart()
            connection.open(now)


def _within(ack: Ack, end: int) -> Ack:
    """Return an ACK without datagrams that a dead process sent and the spool never had."""
    floor = min(ack.floor, end)
    bitmap = ack.bitmap & ((1 << (end - floor)) - 1) if floor == ack.floor else 0
    return replace(ack, floor=floor, bitmap=bitmap)
