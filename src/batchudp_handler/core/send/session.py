"""The sending machine of one handler: what is taken, sent, stored and given up, and when.

A session has one stream of its own and, with a spool, those of dead processes that it has taken
up. All of them share one socket and count in the same place.

    commands   begin_flush  hold  release  begin_close  begin_leaving  give_up  reconfigure  reopen
    inputs     on_socket  on_path  receive_datagram  on_overflow  receive_records
               on_datagram_sent  on_send_failed
    timer      next_timeout  handle_timeout
    outputs    records_to_take  datagram_to_send  wants_new_socket  trouble
    spool      streams, each with its own inputs and outputs; adoption

The shell's turn: say what became of the socket, hand in the answers, `handle_timeout`; send while
`datagram_to_send` gives one, take and hand in records while `records_to_take` wants some, and
send again; store; wait until `next_timeout`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from batchudp_handler.core.causes import NO_PLACE, TWO_RECEIVERS
from batchudp_handler.core.send.adoption import Adoption
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.deliveries import load_delivery, make_delivery
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.send.taking import Taking, TakingLimits, Trigger
from batchudp_handler.core.wire.spool_frame import header_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batchudp_handler.core.records.batch import Captured
    from batchudp_handler.core.send.delivery import Delivery
    from batchudp_handler.core.send.retry import SendFailure

__all__ = ["Session", "SessionSettings"]

BLOCKED_PATIENCE = 1.0
"""Seconds that a full socket may take to become writable before that counts as a failure."""
SILENCE = 1.0
"""Seconds after which it is worth a word that a receiver has not answered."""
UNKNOWN_PATH_SIZE = 1432
"""Bytes that a path is trusted with where the system does not tell its size."""
ADOPTED_SHARE = 64
"""Each adopted stream may have so small a part of the bytes in memory; the rest stays on disk."""
EVERYTHING = 1 << 62
"""More records than there can be."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The settings of a session."""

    sender: SenderSettings = field(default_factory=SenderSettings)
    taking: TakingLimits = field(default_factory=TakingLimits)
    fit_path: bool = False
    """Follow the datagram size of the path, up to the one that is configured."""

    def __post_init__(self) -> None:
        load_delivery(self.sender)


class Session:
    """The sending machine of one handler, without a socket, a file, a thread or a clock.

    Args:
        settings: See `SessionSettings`.
        stream_id: Random 64 bits; new ones after each start and fork.
        random: Draws from [0, 1).
        counters: Those of the handler; None: some of its own.
    """

    def __init__(
        self,
        settings: SessionSettings,
        *,
        stream_id: int,
        random: Callable[[], float],
        counters: SenderCounters | None = None,
    ) -> None:
        self.counters = SenderCounters() if counters is None else counters
        self.taking = Taking(settings.taking, self.counters)
        self.is_open = False
        """Whether there is a socket; set with `on_socket`."""
        self._settings = settings
        self._random = random
        self.own = self._make_stream(settings.sender, stream_id)
        self.adoption: Adoption | None = None
        """The streams of dead processes; None: there is no spool."""
        if settings.sender.storage is not StoragePolicy.OFF:
            self.adoption = Adoption(self._make_adopted, self.counters)
        self._sending = self.own
        self._sockets = 0
        self._path_size = 0
        self._blocked_since: float | None = None
        self._is_full = False
        self._clock_offset = 0.0
        self._pending_bytes = 0
        self._lost = 0
        self._is_losing = False
        self._is_closing = False
        self.is_written_off = False
        """Whether what is left is counted as dropped already."""
        self._was_settled = True
        self._left_on_disk = 0  # by a stream before this one

    def _make_stream(self, settings: SenderSettings, stream_id: int) -> Delivery:
        return make_delivery(
            settings, stream_id=stream_id, random=self._random, counters=self.counters
        )

    def _make_adopted(self, stream_id: int) -> Delivery:
        settings = replace(
            self._settings.sender,
            max_datagram_size=self.own.max_datagram_size,  # that of the path, if it is known
            max_retained_bytes=self._settings.taking.capacity_bytes // ADOPTED_SHARE,
        )
        return self._make_stream(settings, stream_id)

    @property
    def streams(self) -> list[Delivery]:
        """The own stream, and those of dead processes."""
        return [self.own] if self.adoption is None else [self.own, *self.adoption.streams]

    # commands

    def begin_flush(self, trigger: Trigger, waiting: int, now: float) -> None:
        """Send all records that wait now."""
        self.taking.begin(trigger, waiting, now)

    def begin_due_flush(self, waiting: int, now: float, *, is_urgent: bool) -> None:
        """Send all records that wait now, if that is due."""
        trigger = self.taking.due(now, waiting, is_urgent=is_urgent)
        if trigger is not None:
            self.taking.begin(trigger, waiting, now)

    def hold(self) -> None:
        """Begin no new flush until `release`: what is on its way gets a chance to settle."""
        self.taking.hold()

    def release(self) -> None:
        """Begin flushes when they are due."""
        self.taking.release()

    def begin_close(self, waiting: int, now: float) -> None:
        """Send what waits at the first call, then say goodbye."""
        if not self._is_closing:
            self._is_closing = True
            self.hold()
            self.begin_flush(Trigger.CLOSE, waiting, now)

    def begin_leaving(self, waiting: int) -> None:
        """Have the spool keep what waits and what is not confirmed: another process sends it."""
        self.taking.owed = waiting
        if self.adoption is not None:
            self.adoption.end()
            for stream in self.streams:
                stream.store_everything()

    def drop_waiting(self, records: int) -> None:
        """Note that so many of the waiting records were taken, and will not be sent."""
        self.taking.on_taken(records)
        self.counters.drop("closed", records)

    def give_up(self) -> None:
        """Stop: count as dropped what has neither been sent nor stored."""
        self.taking.owed = 0
        for stream in self.streams:
            stream.give_up()

    def finish_close(self) -> None:
        """Say goodbye if everything is settled and the session is to be closed."""
        if self._is_closing and self.is_settled:
            if self.is_open:
                self.own.close()
            else:
                self.own.give_up()  # nothing is left, and nobody can be told

    def write_off(self, records: int) -> None:
        """Count as dropped all that is left, when a fault keeps it from being given up."""
        self.is_written_off = True
        self.counters.drop("closed", records)

    def reconfigure(self, settings: SessionSettings) -> None:
        """Use other settings; what waits is not lost."""
        self._settings = settings
        self._path_size = 0
        self.taking.configure(settings.taking)
        if settings.sender.acknowledged == self.expects_answers:
            self.own.reconfigure(settings.sender)

    def reopen(self, stream_id: int) -> None:
        """Go on, after the end, in a one-way stream without a spool, which has another number."""
        self._left_on_disk = self.spooled_records
        settings = replace(self._settings.sender, acknowledged=False, storage=StoragePolicy.OFF)
        self.own = self._sending = self._make_stream(settings, stream_id)
        self.adoption = None
        self.taking = Taking(self._settings.taking, self.counters)
        self._path_size = self._lost = 0
        self._blocked_since = None
        self._is_closing = False

    # inputs

    def on_path(self, sockets: int, size: int | None) -> None:
        """Note which socket is used, and which size its path carries.

        Args:
            sockets: A number that is another one for each socket.
            size: Bytes; None: nobody knows.
        """
        if sockets != self._sockets:
            self._sockets = sockets
            for stream in self.streams:
                stream.on_new_socket()
        size = size or UNKNOWN_PATH_SIZE
        if self.fits_path and size != self._path_size:
            self._path_size = size
            for stream in self.streams:
                stream.set_max_datagram_size(size)

    def receive_datagram(self, datagram: bytes, now: float) -> None:
        """Take what the socket received. Never raises; what is no answer to us is counted."""
        self._stream_for(datagram).receive_datagram(datagram, now)

    def _stream_for(self, datagram: bytes) -> Delivery:
        """Return whose answer this is by its header, which the stream itself does not trust."""
        adopted = () if self.adoption is None else self.adoption.streams
        fields = header_fields(datagram) if adopted else None
        for stream in adopted:
            if fields is not None and fields[0] == stream.stream_id:
                return stream
        return self.own

    def handle_timeout(self, now: float, wall: float) -> None:
        """Do what is due.

        Args:
            now: The time.
            wall: The same moment as Unix time, for the headers.
        """
        self._clock_offset = wall - now
        self._is_full = False
        for stream in self.streams:
            stream.handle_timeout(now)

    def on_lost(self, lost: int, now: float) -> None:
        """Note how many records were dropped while they waited, for want of room."""
        self._is_losing = lost > self._lost
        if lost != self._lost:
            self._lost = lost
            self.own.note_dropped(lost, now)

    @property
    def may_give_up(self) -> bool:
        """Whether records that are held can make room for newer ones: they cannot be sent."""
        return not self.is_open or self.own.is_stuck

    def make_room(self, records: int, cause: str) -> None:
        """Drop so many of the oldest records that are held; all, if newer ones were dropped."""
        if self._is_losing:
            records = EVERYTHING
        if records:
            self.own.drop_oldest(records, cause)

    def receive_records(self, batch: Sequence[Captured], size: int, now: float) -> None:
        """Take the records that `records_to_take` asked for, or fewer.

        Args:
            batch: The oldest that waited.
            size: Bytes of long texts in them.
            now: The time.
        """
        try:
            self._pending_bytes += size
            can_follow = self.taking.on_taken(len(batch))
            # long texts leave before more of them are taken
            is_long = self._pending_bytes >= self.bytes_at_once
            self.own.send_batch(
                batch,
                now,
                now + self._clock_offset,
                has_more_to_come=can_follow and not is_long and not self.own.is_stuck,
            )
        except Exception:
            self.counters.drop("internal_error", len(batch))
            raise

    def on_datagram_sent(self, now: float) -> None:
        """Note that the socket took the datagram of `datagram_to_send`."""
        self._blocked_since = None
        self._sending.on_datagram_sent(now)

    def on_send_failed(
        self,
        failure: SendFailure,
        now: float,
        max_datagram_size: int | None = None,
        *,
        is_until_writable: bool = False,
    ) -> None:
        """Note that the socket refused the datagram of `datagram_to_send`.

        Args:
            failure: The kind of refusal.
            now: The time.
            max_datagram_size: What the path takes, if the socket says it.
            is_until_writable: The same datagram may be offered when the socket is writable.
        """
        if is_until_writable and self._has_patience(now):
            return
        self._blocked_since = None
        self._sending.on_send_failed(failure, now, max_datagram_size)

    def _has_patience(self, now: float) -> bool:
        if self._blocked_since is None:
            self._blocked_since = now
        self._is_full = now - self._blocked_since < BLOCKED_PATIENCE
        return self._is_full

    def end_turn(self) -> None:
        """Note that all was done that could be done now."""
        self._was_settled = self.is_settled

    # outputs

    def records_to_take(self, now: float) -> int:
        """Return how many of the waiting records `receive_records` should get now."""
        if not self.taking.owed:
            self.taking.on_sent(now)
            return 0
        if not self.takes_records:
            return 0
        self.own.look_for_receiver(now, now + self._clock_offset)
        return 0 if self.is_blocked else self.taking.portion(self._wanted_records, now)

    @property
    def _wanted_records(self) -> int:
        """How many records the stream gets: none while it still has long texts to encode."""
        if not self.own.pending_records:
            self._pending_bytes = 0
        return 0 if self._pending_bytes >= self.bytes_at_once else self.own.wanted_records

    def datagram_to_send(self, now: float) -> bytes | None:
        """Return the datagram to send now, the same until its fate is told; None: there is none.

        None also in the rest of a turn in which the socket was full.
        """
        if not self.is_open or self._is_full:
            return None
        for stream in self.streams:
            datagram = stream.datagram_to_send(now)
            if datagram is not None:
                self._sending = stream
                return datagram
        return None

    def next_timeout(self, now: float) -> float | None:
        """Return when something is to be done, if nothing comes in; None: nothing ever."""
        times: list[float | None] = []
        if self.is_open and self._blocked_since is not None:
            times.append(self._blocked_since + BLOCKED_PATIENCE)
        elif self.is_open:
            times.extend(stream.next_timeout() for stream in self.streams)
        if self.awaits_records:
            times.append(self.taking.deadline(now))
        if self.adoption is not None:
            times.append(self.adoption.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def trouble(self, now: float) -> str:
        """Return what keeps the receiver from answering, in words; empty: nothing that is known.

        Any thread may ask, so this looks at nothing that changes in more than one step.
        """
        if self.own.finds_no_place:
            return NO_PLACE
        if self.own.meets_two_receivers:
            return TWO_RECEIVERS
        since = self.own.unanswered_since
        if since is None or now - since < SILENCE or self._was_settled:
            return ""
        return f"no answer from the receiver within {now - since:.0f} s"

    # getters

    @property
    def bytes_at_once(self) -> int:
        """Bytes of long texts that should be taken before they are sent."""
        return self._settings.taking.bytes_at_once

    @property
    def wants_new_socket(self) -> bool:
        """Whether the name should be looked up again."""
        return self.own.wants_new_socket

    @property
    def fits_path(self) -> bool:
        """Whether the datagram size follows that of the path."""
        return self._settings.fit_path

    @property
    def expects_answers(self) -> bool:
        """Whether the receiver answers."""
        return self.own.is_acknowledged

    @property
    def takes_records(self) -> bool:
        """Whether there is somewhere to go for records: the network, or the disk."""
        return self.is_open or self.adoption is not None

    @property
    def awaits_records(self) -> bool:
        """Whether records that come in can make a flush due."""
        return self.takes_records and self.taking.may_begin

    @property
    def is_blocked(self) -> bool:
        """Whether the socket is full, and to be waited for until it is writable."""
        return self._blocked_since is not None

    @property
    def is_settled(self) -> bool:
        """Whether all that was to be flushed is sent, confirmed or counted."""
        return not self.taking.owed and self.own.is_idle

    @property
    def is_closing(self) -> bool:
        """Whether `begin_close` was called."""
        return self._is_closing

    @property
    def is_closed(self) -> bool:
        """Whether `begin_close` has come to its end."""
        is_done = self.adoption is None or self.adoption.is_done
        return self._is_closing and not self.taking.owed and self.own.is_closed and is_done

    @property
    def held(self) -> tuple[int, int]:
        """Records that were taken and are neither settled nor on disk, and bytes of them."""
        if self.is_written_off:
            return 0, 0
        streams = self.streams
        records = sum(each.pending_records + each.retained_records for each in streams)
        pending = self._pending_bytes if self.own.pending_records else 0
        return records, pending + sum(each.retained_bytes for each in streams)

    @property
    def retained_records(self) -> int:
        """Records that are sealed and in memory."""
        if self.is_written_off:
            return 0
        return sum(each.retained_records for each in self.streams)

    @property
    def spooled_records(self) -> int:
        """Records on disk that are not settled."""
        return self._left_on_disk + sum(each.spooled_records for each in self.streams)
