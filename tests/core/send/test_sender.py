"""The sending machine, in virtual time, datagrams handed over one by one."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.deliveries import make_delivery
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy, StoredDatagram
from batchudp_handler.core.wire.ack import Ack, encode_ack
from batchudp_handler.core.wire.auth import HmacKey
from batchudp_handler.core.wire.datagram import CHECKSUM, DatagramType, Header, parse
from batchudp_handler.core.wire.sync import Sync, decode_sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

STREAM = 0x1122334455667788
EPOCH = 77
COOKIE = b"c" * 16
WALL = 1_700_000_000.0


def encode(snapshots: Sequence[Snapshot]) -> Encoded:
    """The numbers of the records as JSON."""
    payload = json.dumps([each[0] for each in snapshots]).encode()
    return Encoded(0, payload, len(payload))


class Bench:
    """A sender whose datagrams a test takes, loses, refuses and answers."""

    def __init__(self, **settings: object) -> None:
        settings = {"encoder": encode, "max_datagram_size": 200, **settings}
        self.now = 0.0
        self.settings = SenderSettings(**settings)  # type: ignore[arg-type]  # given by the test
        self.sender = make_delivery(self.settings, stream_id=STREAM, random=lambda: 0.5)
        self._acks = 0

    def log(self, *records: object) -> None:
        self.sender.send_batch([(each,) for each in records], self.now, WALL + self.now)

    def send(self) -> list[bytes]:
        """Everything that the sender has to send now."""
        self.sender.handle_timeout(self.now)
        sent = []
        while (data := self.sender.datagram_to_send(self.now)) is not None:
            sent.append(data)
            self.sender.on_datagram_sent(self.now)
        return sent

    def fail(self, failure: SendFailure, size: int | None = None) -> bytes:
        data = self.sender.datagram_to_send(self.now)
        assert data is not None
        self.sender.on_send_failed(failure, self.now, size)
        return data

    def until(self, time: float) -> list[bytes]:
        """Let time pass; return what was sent meanwhile."""
        sent: list[bytes] = []
        while (at := self.sender.next_timeout()) is not None and at <= time:
            assert at > self.now or not sent or self.sender.datagram_to_send(self.now) is None
            self.now = max(self.now, at)
            sent += self.send()
        self.now = time
        return sent

    def ack(self, **fields: object) -> None:
        self._acks += 1
        fields = {"receiver_epoch": EPOCH, "credit": 1 << 20, **fields}
        ack = Ack(**fields)  # type: ignore[arg-type]  # given by the test
        data = encode_ack(CHECKSUM, ack, stream_id=STREAM, counter=self._acks, sealed_at=0)
        self.sender.receive_datagram(data, self.now)

    def open(self, epoch: int = EPOCH) -> None:
        """Go through the handshake."""
        self.send()
        self.ack(cookie=COOKIE, receiver_epoch=epoch)
        self.until(self.now + 0.06)
        self.ack(receiver_epoch=epoch)

    @property
    def dropped(self) -> dict[str, int]:
        return self.sender.counters.dropped

    def check_identity(self, accepted: int) -> None:
        counters = self.sender.counters
        settled = counters.sent + counters.confirmed + counters.rejected_by_receiver
        settled += counters.unconfirmed + sum(counters.dropped.values())
        held = self.sender.pending_records + self.sender.retained_records
        assert accepted == settled + held + self.sender.spooled_records


def header(data: bytes) -> Header:
    found = parse(data)
    assert isinstance(found, Header)
    return found


def is_data(data: bytes) -> bool:
    return header(data).type <= DatagramType.DATA_ACKNOWLEDGED


def seqs(datagrams: list[bytes]) -> list[int]:
    return [header(data).seq for data in datagrams if is_data(data)]


def records(datagrams: list[bytes]) -> list[int]:
    """The records in datagrams of whole batches."""
    return [
        number for data in datagrams if is_data(data) for number in json.loads(CHECKSUM.open(data))
    ]


def syncs(datagrams: list[bytes]) -> list[Sync]:
    return [decode_sync(CHECKSUM.open(data)) for data in datagrams if not is_data(data)]


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "xml"},
        {"encoding": "json", "acknowledged": True},
        {"max_datagram_size": 100},
        {"max_datagram_size": 65_508},
        {"max_retries": -1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    """A setting that cannot work is an error at once, with the allowed values in it."""
    with pytest.raises(ConfigError, match=r"is|needs"):
        SenderSettings(**wrong)  # type: ignore[arg-type]  # that is the point


def test_what_belongs_to_a_stream_cannot_be_reconfigured() -> None:
    """Delivery, encoding, key and spool are fixed when the stream begins."""
    bench = Bench()
    with pytest.raises(ConfigError, match="cannot change"):
        bench.sender.reconfigure(SenderSettings(acknowledged=True))


def test_reconfigure_uses_the_new_size_and_loses_nothing() -> None:
    """What waits is cut to the new size."""
    bench = Bench()
    bench.log(*range(100))
    small = SenderSettings(encoder=encode, max_datagram_size=150)
    bench.sender.reconfigure(small)
    sent = bench.send()
    assert max(map(len, sent)) <= 150
    assert records(sent) == list(range(100))


# --- one way ----------------------------------------------------------------------------------


def test_records_leave_in_order_and_count_as_sent() -> None:
    """Numbers have no gaps, records come in order, nothing is kept."""
    bench = Bench()
    bench.log(*range(500))
    sent = bench.send()
    assert records(sent) == list(range(500))
    assert seqs(sent) == list(range(len(seqs(sent))))
    assert bench.sender.is_idle
    assert bench.sender.counters.sent == 500
    bench.check_identity(500)


def test_record_ordinals_add_up() -> None:
    """Each datagram says how many records came before it."""
    bench = Bench()
    bench.log(*range(300))
    expected = 0
    for data in bench.send():
        if is_data(data):
            assert header(data).rec == expected
            expected += header(data).n_rec
    assert expected == 300


def test_the_same_bytes_until_their_fate_is_known() -> None:
    """Asking twice gives the same datagram."""
    bench = Bench()
    bench.log(1)
    assert bench.sender.datagram_to_send(0.0) is bench.sender.datagram_to_send(0.0)


def test_sync_schedule() -> None:
    """At the start, a second after the last DATA, 10 s later, then every minute."""
    bench = Bench()
    bench.log(1)
    first = bench.send()
    assert [is_data(data) for data in first] == [False, True]
    times = []
    while bench.now < 200:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
        assert len(syncs(bench.send())) == 1
        times.append(at)
    assert times == [1.0, 11.0, 71.0, 131.0, 191.0, 251.0]


def test_sync_promises_the_next_one() -> None:
    """Each SYNC comes within the time that the one before it promised."""
    bench = Bench()
    bench.log(1)
    promises = syncs(bench.send() + bench.until(200.0))
    assert [sync.promise_ms for sync in promises] == [
        10_000,
        10_000,
        60_000,
        60_000,
        60_000,
        60_000,
    ]


def test_sync_comes_also_while_data_flows() -> None:
    """A stream that is never idle says where it stands every ten seconds."""
    bench = Bench()
    found = 0
    for tick in range(300):
        bench.now = tick * 0.1
        bench.log(tick)
        found += len(syncs(bench.send()))
    assert found == 3


def test_sync_says_how_far_the_stream_has_come() -> None:
    """The tail of a stream shows at the receiver although no DATA follows it."""
    bench = Bench()
    bench.log(*range(100))
    sent = seqs(bench.send())
    sync = syncs(bench.until(1.0))[0]
    assert (sync.next_seq, sync.next_rec) == (len(sent), 100)
    assert not sync.acknowledged


def test_drops_before_numbering_are_told() -> None:
    """Records lost in the buffer, and records that cannot be encoded, are in SYNC."""
    bench = Bench()
    bench.log(1, ..., 2)
    bench.sender.note_dropped(40, 0.0)
    sent = bench.send() + bench.until(1.0)
    assert syncs(sent)[-1].dropped_records == 41
    assert bench.dropped == {"encode_error": 1}


def test_a_new_drop_is_told_within_a_second() -> None:
    """A minute between SYNCs is too long for bad news."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.until(30.0)
    bench.sender.note_dropped(5, bench.now)
    assert syncs(bench.until(31.0))[0].dropped_records == 5


def test_close_says_goodbye_twice() -> None:
    """Everything is sent, then two SYNCs 50 ms apart, then it is over."""
    bench = Bench()
    bench.log(*range(10))
    bench.sender.close()
    assert not bench.sender.can_send
    sent = bench.send()
    assert records(sent) == list(range(10))
    assert [sync.closing for sync in syncs(sent)] == [False, True]
    later = bench.until(0.05)
    assert [sync.closing for sync in syncs(later)] == [True]
    assert bench.sender.is_closed
    assert bench.sender.next_timeout() is None


def test_close_without_a_record_is_silent() -> None:
    """A sender that never sent anything has nobody to take leave of."""
    bench = Bench()
    bench.sender.close()
    assert bench.send() == []
    assert bench.sender.is_closed


def test_baseline_datagrams_have_no_header_and_no_sync() -> None:
    """`encoding="json"` sends what any JSON reader takes, and nothing else."""
    bench = Bench(encoding="json", max_datagram_size=1000)
    bench.log(1, 2)
    bench.sender.close()
    assert bench.send() == [b"[1, 2]"]
    assert bench.sender.is_closed


def test_a_record_too_large_is_sent_in_fragments() -> None:
    """The fragments follow each other and count as one record when the last is out."""
    bench = Bench()
    big = list(range(200))
    bench.log(0, big, 1)
    sent = [data for data in bench.send() if is_data(data)]
    group = [data for data in sent if header(data).frag_count > 1]
    assert [header(data).frag_index for data in group] == list(range(len(group)))
    assert {header(data).rec for data in group} == {1}
    assert json.loads(b"".join(CHECKSUM.open(data) for data in group)) == [big]
    assert bench.sender.counters.sent == 3
    assert header(sent[-1]).rec == 2


def test_backoff_grows_and_gives_up() -> None:
    """0.1 s, doubled; after max_retries the records are dropped by cause."""
    bench = Bench(max_retries=3)
    bench.log(7)
    waits = []
    for _ in range(4):
        data = bench.sender.datagram_to_send(bench.now)
        if data is not None and not is_data(data):
            bench.sender.on_datagram_sent(bench.now)
        bench.fail(SendFailure.UNREACHABLE)
        at = bench.sender.next_timeout()
        assert at is not None
        waits.append(round(at - bench.now, 3))
        assert bench.sender.datagram_to_send(at - 0.01) is None
        bench.now = at
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert bench.dropped == {"send_failed": 1}
    assert bench.sender.counters.retries == 3
    bench.check_identity(1)


def test_numbers_of_a_datagram_never_sent_are_used_again() -> None:
    """What was dropped before it left is told as dropped, and not found missing as well."""
    bench = Bench(max_retries=0)
    bench.log(1)
    bench.send()
    bench.log(2)
    bench.fail(SendFailure.UNREACHABLE)
    bench.now = 0.5
    bench.log(3)
    sent = [data for data in bench.send() if is_data(data)]
    assert [(header(data).seq, header(data).rec) for data in sent] == [(1, 1)]
    assert records(sent) == [3]
    assert syncs(bench.until(1.5))[-1].dropped_records == 1


def test_refused_sends_the_previous_and_the_current_again() -> None:
    """Connection refused: the datagram before was lost, this one was not sent."""
    bench = Bench()
    bench.log(*range(100))
    bench.sender.datagram_to_send(0.0)
    bench.sender.on_datagram_sent(0.0)  # SYNC
    first = bench.sender.datagram_to_send(0.0)
    bench.sender.on_datagram_sent(0.0)
    second = bench.fail(SendFailure.REFUSED)
    bench.check_identity(100)
    bench.now = 0.2
    assert [data for data in bench.send() if is_data(data)][:2] == [first, second]
    assert bench.sender.counters.sent == 100
    bench.check_identity(100)


def test_refused_at_the_next_sync_saves_the_last_datagram() -> None:
    """The tail of a burst is sent again when the SYNC after it is refused."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.now = 1.0
    bench.fail(SendFailure.REFUSED)
    assert not bench.sender.is_idle
    assert records(bench.until(2.0)) == [1]
    assert bench.sender.counters.sent == 1


def test_refused_told_by_the_socket_between_two_sends() -> None:
    """A shell that reads the error instead of sending into it may say so too."""
    bench = Bench()
    bench.log(1)
    bench.send()
    bench.sender.on_send_failed(SendFailure.REFUSED, bench.now)
    assert records(bench.until(0.5)) == [1]


def test_nobody_there_at_all_drops_everything_by_cause() -> None:
    """Refused for ever: each record ends as send_failed, none as sent."""
    bench = Bench(max_retries=2)
    bench.log(*range(200))
    is_refused = False
    for _ in range(1_000):
        data = bench.sender.datagram_to_send(bench.now)
        if data is None:
            at = bench.sender.next_timeout()
            assert at is not None
            if bench.sender.is_idle:
                break
            bench.now = max(at, bench.now)
        elif is_refused:
            bench.sender.on_send_failed(SendFailure.REFUSED, bench.now)
            is_refused = False
        else:
            bench.sender.on_datagram_sent(bench.now)
            is_refused = True
        bench.check_identity(200)
    assert bench.sender.wants_new_socket or bench.sender.is_idle
    assert bench.dropped["send_failed"] >= 150


def test_too_big_cuts_smaller_and_never_sends_the_same_bytes() -> None:
    """EMSGSIZE: the records leave in datagrams of the size that the socket told."""
    bench = Bench(max_datagram_size=1_000)
    bench.log(*range(600))
    refused = None
    sent = []
    while refused is None:
        data = bench.sender.datagram_to_send(0.0)
        assert data is not None
        if len(data) > 500:
            refused = bench.fail(SendFailure.TOO_BIG, 500)
        else:
            sent.append(data)
            bench.sender.on_datagram_sent(0.0)
    sent += bench.send()
    assert refused not in sent
    assert max(map(len, sent)) <= 500
    assert records(sent) == list(range(600))
    assert bench.sender.max_datagram_size == 500
    assert seqs(sent) == list(range(len(seqs(sent))))
    bench.check_identity(600)


@pytest.mark.parametrize("told", [None, 1_000, 5_000, 3])
def test_too_big_without_a_useful_size_steps_down(told: int | None) -> None:
    """If the socket names no smaller size, the next common one is tried."""
    bench = Bench(max_datagram_size=1_000)
    bench.log(*range(10_000, 10_600))
    bench.sender.datagram_to_send(0.0)
    bench.sender.on_datagram_sent(0.0)
    size = len(bench.fail(SendFailure.TOO_BIG, told))
    assert size > 548
    assert bench.sender.max_datagram_size == 548
    assert records(bench.send()) == list(range(10_000, 10_600))


def test_a_sync_too_big_is_just_a_failure() -> None:
    """Below 128 bytes there is nothing to cut."""
    bench = Bench()
    bench.log(1)
    bench.fail(SendFailure.TOO_BIG)
    assert bench.sender.max_datagram_size == 200
    assert records(bench.until(2.0)) == [1]


def test_the_size_of_the_path_never_exceeds_the_setting() -> None:
    """A larger path does not make larger datagrams than were asked for."""
    bench = Bench(max_datagram_size=500)
    bench.sender.set_max_datagram_size(65_507)
    assert bench.sender.max_datagram_size == 500
    bench.sender.set_max_datagram_size(300)
    assert bench.sender.max_datagram_size == 300


def test_give_up_counts_what_was_not_sent() -> None:
    """One-way: sealed or not, what the deadline leaves is dropped as closed."""
    bench = Bench()
    bench.log(*range(500))
    for _ in range(3):
        bench.sender.datagram_to_send(0.0)
        bench.sender.on_datagram_sent(0.0)
    bench.sender.datagram_to_send(0.0)
    bench.sender.close()
    bench.sender.give_up()
    sent = bench.sender.counters.sent
    assert 0 < sent < 500
    assert bench.dropped == {"closed": 500 - sent}
    assert bench.sender.is_closed
    assert bench.send() == []


def test_one_way_ignores_whatever_arrives() -> None:
    """Nobody answers one-way datagrams; what comes is counted and has no effect."""
    bench = Bench()
    bench.log(1)
    bench.ack(floor=5)
    bench.sender.receive_datagram(b"garbage", 0.0)
    assert sum(bench.sender.counters.ignored.values()) == 2
    assert records(bench.send()) == [1]


def test_another_socket_clears_the_backoff() -> None:
    """After a new look-up the next datagram leaves at once."""
    bench = Bench()
    bench.log(1)
    for _ in range(3):
        bench.fail(SendFailure.UNREACHABLE)
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
    assert bench.sender.wants_new_socket
    bench.sender.on_new_socket()
    assert not bench.sender.wants_new_socket
    assert records(bench.send()) == [1]


def test_the_clock_offset_reaches_the_header() -> None:
    """`sealed_at` is wall-clock time, as last told."""
    bench = Bench()
    bench.log(1)
    assert header(bench.send()[-1]).sealed_at == int(WALL)


# --- acknowledged -----------------------------------------------------------------------------


def acknowledged(**settings: object) -> Bench:
    return Bench(acknowledged=True, **settings)


def test_no_data_before_the_receiver_has_answered() -> None:
    """Only SYNCs leave until the handshake is done; then the records."""
    bench = acknowledged()
    bench.log(1, 2, 3)
    first = bench.send()
    assert len(first) == 1
    assert syncs(first)[0].cookie == bytes(16)
    bench.ack(cookie=COOKIE)
    second = bench.until(0.1)
    assert [sync.cookie for sync in syncs(second)] == [COOKIE]
    assert seqs(second) == []
    bench.ack()
    assert records(bench.send()) == [1, 2, 3]


def test_probes_before_an_answer_grow_rarer() -> None:
    """Every fraction of a second at first, six times a minute, three in a row, after a while."""
    bench = acknowledged()
    bench.log(1)
    assert 30 <= len(bench.until(10.0)) <= 50
    bench.until(600.0)
    assert 15 <= len(bench.until(660.0)) <= 21


def test_only_the_floor_confirms() -> None:
    """Held records are not confirmed; final ones are; then everything is settled."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    sent = bench.send()
    count = len(seqs(sent))
    assert count > 2
    bench.ack(bitmap=(1 << count) - 1)
    assert bench.sender.counters.confirmed == 0
    bench.ack(floor=count)
    assert bench.sender.counters.confirmed == 100
    assert bench.sender.is_idle
    bench.check_identity(100)


def test_rejected_records_are_told_apart() -> None:
    """What the receiver refused is final and not confirmed."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    count = len(seqs(bench.send()))
    bench.ack(floor=count, rejected_records=7)
    assert bench.sender.counters.rejected_by_receiver == 7
    assert bench.sender.counters.confirmed == 93
    bench.check_identity(100)


def test_retransmissions_are_the_same_bytes() -> None:
    """A sealed datagram never changes."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    (first,) = bench.send()
    again = [data for data in bench.until(1.0) if is_data(data)]
    assert again
    assert set(again) == {first}
    assert bench.sender.counters.retransmissions == len(again)


def test_the_probe_timer_backs_off() -> None:
    """Without progress each probe waits longer, up to half a second on a fast path."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.now += 0.001
    bench.ack(floor=1, delivered_records=1)  # a sample of one millisecond
    bench.log(2)
    bench.send()
    times: list[float] = []
    while len(times) < 10:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
        if seqs(bench.send()):
            times.append(at)
    gaps = [round(b - a, 3) for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 0.5


def test_a_lost_datagram_is_sent_again_when_overtaken_and_overdue() -> None:
    """Nine eighths of a round trip after it was sent, once a later one was acked."""
    bench = acknowledged()
    bench.log(*range(200))
    bench.open()
    bench.send()
    bench.now += 0.010
    bench.ack(bitmap=0b10)
    assert 0 not in seqs(bench.until(bench.now + 0.001))
    assert seqs(bench.until(bench.now + 0.001))[:1] == [0]


def test_credit_limits_what_is_in_flight() -> None:
    """With little credit there is one datagram at a time, but always one."""
    bench = acknowledged()
    bench.log(*range(500))
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(0.1)
    bench.ack(credit=0)
    assert len(seqs(bench.send())) == 1
    bench.ack(credit=450, floor=1)
    assert len(seqs(bench.send())) == 2


def test_the_congestion_window_limits_what_is_in_flight() -> None:
    """Ten datagrams at the start, however much credit there is."""
    bench = acknowledged()
    bench.log(*range(2_000))
    bench.open()
    sent = seqs(bench.send())
    assert 8 <= len(sent) <= 11


def test_an_old_ack_is_ignored() -> None:
    """An ACK with a counter that has been seen changes nothing."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    old = encode_ack(
        CHECKSUM,
        Ack(receiver_epoch=EPOCH, floor=1, credit=9),
        stream_id=STREAM,
        counter=1,
        sealed_at=0,
    )
    bench.sender.receive_datagram(old, bench.now)
    assert bench.sender.counters.confirmed == 0
    assert bench.sender.counters.ignored == {"replayed": 1}


@pytest.mark.parametrize(
    "fields",
    [{"floor": 2}, {"floor": 2**64 - 1}, {"bitmap": 0b10}, {"bitmap": 1 << 4095}],
)
def test_an_ack_for_what_was_never_sent_is_ignored(fields: dict[str, int]) -> None:
    """Hostile floors and bitmaps are counted and have no effect."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(**fields)
    assert bench.sender.counters.ignored == {"shape": 1}
    assert bench.sender.retained_records == 1


def test_an_ack_for_another_stream_or_key_is_ignored() -> None:
    """Answers that are not for us, or damaged, are counted by reason."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    ack = Ack(receiver_epoch=EPOCH, floor=1)
    other = encode_ack(CHECKSUM, ack, stream_id=1, counter=50, sealed_at=0)
    keyed = encode_ack(
        HmacKey(3, b"k" * 32).receiver, ack, stream_id=STREAM, counter=50, sealed_at=0
    )
    own = encode_ack(CHECKSUM, ack, stream_id=STREAM, counter=50, sealed_at=0)
    damaged = own[:-1] + bytes([own[-1] ^ 1])
    for data in (other, keyed, damaged, b"", b"{}", own[:20]):
        bench.sender.receive_datagram(data, bench.now)
    assert bench.sender.counters.ignored == {
        "not_allowed": 1,
        "unknown_key": 1,
        "bad_crc": 1,
        "malformed": 2,
        "unsupported_type": 1,
    }
    assert bench.sender.retained_records == 1


def test_a_new_receiver_gets_everything_again_and_it_is_counted() -> None:
    """At the challenge the possible copies are counted, at its first ACK all is queued."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    first = bench.send()
    bench.ack(bitmap=0b1)
    bench.ack(receiver_epoch=EPOCH + 1, cookie=COOKIE)
    assert bench.sender.counters.resent_to_new_receiver == 100
    assert seqs(bench.until(bench.now + 0.1)) == []
    bench.ack(receiver_epoch=EPOCH + 1)
    assert seqs(bench.send())[: len(seqs(first))] == seqs(first)


def test_a_late_answer_of_the_old_receiver_does_not_count() -> None:
    """After the change of receiver, ACK and CHALLENGE of the old one are stale."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(receiver_epoch=EPOCH + 1, cookie=COOKIE)
    bench.until(bench.now + 0.1)
    bench.ack(receiver_epoch=EPOCH + 1)
    bench.send()
    bench.ack(floor=1)
    bench.ack(cookie=COOKIE)
    assert bench.sender.counters.ignored == {"stale": 2}
    assert bench.sender.counters.confirmed == 0
    assert bench.sender.counters.resent_to_new_receiver == 1


def test_a_receiver_that_never_challenged_us_is_not_believed() -> None:
    """An ACK of an unknown epoch confirms nothing."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(receiver_epoch=99, floor=1)
    assert bench.sender.counters.confirmed == 0


def test_an_instance_that_lives_and_dies_unheard_is_counted() -> None:
    """Each challenge of an unknown receiver counts the copies that it may have made."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    for epoch in (EPOCH + 1, EPOCH + 1, EPOCH + 2):
        bench.ack(receiver_epoch=epoch, cookie=COOKIE)
        bench.until(bench.now + 0.1)
    assert bench.sender.counters.resent_to_new_receiver == 2


def test_a_receiver_that_forgot_the_stream_gets_everything_again() -> None:
    """Its counts begin again: what it had and we retain may be delivered twice, and is counted."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    count = len(seqs(bench.send()))
    bench.ack(floor=1, bitmap=0b1, delivered_records=90)
    bench.ack(floor=1, delivered_records=0)
    assert bench.sender.counters.resent_to_new_receiver > 0
    assert seqs(bench.send()) == list(range(1, count))


def test_a_challenge_in_the_same_epoch_only_proves_the_address() -> None:
    """After an address change a SYNC with the cookie goes out; nothing is counted as resent."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(cookie=b"d" * 16)
    assert [sync.cookie for sync in syncs(bench.until(bench.now + 0.06))] == [b"d" * 16]
    assert bench.sender.counters.resent_to_new_receiver == 0


def test_after_an_address_change_what_was_on_its_way_is_sent_at_once() -> None:
    """It was not taken from the unproven address; nobody has to wait for a timer to know."""
    bench = acknowledged()
    bench.log(1)
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.send()
    bench.now += 2.0  # a slow path: the probe timer is far away
    bench.ack()
    first = bench.send()
    bench.ack(cookie=b"d" * 16)
    assert len(syncs(bench.until(bench.now + 0.06))) == 1
    bench.ack()
    assert bench.send() == first


def test_a_copy_of_an_old_challenge_sends_nothing_again() -> None:
    """Only another cookie means another address."""
    bench = acknowledged()
    bench.log(1)
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.send()
    bench.now += 2.0
    bench.ack()
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(bench.now + 0.06)
    bench.ack()
    assert seqs(bench.send()) == []


def test_a_receiver_that_may_have_forgotten_us_is_counted() -> None:
    """A challenge after a minute without an answer: what was delivered may be delivered again."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.until(bench.now + 70.0)
    bench.ack(cookie=b"d" * 16)
    assert bench.sender.counters.resent_to_new_receiver == 1


def test_silence_leads_away_and_no_data_is_sent_there() -> None:
    """Five probes and five seconds without an answer: probes only, and a new look-up."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.until(bench.now + 4.9)
    assert not bench.sender.is_away
    bench.until(bench.now + 2.0)
    assert bench.sender.is_away
    assert bench.sender.wants_new_socket
    assert seqs(bench.until(bench.now + 60.0)) == []
    bench.ack()
    assert not bench.sender.is_away
    assert records(bench.send()) == [1]


def test_refusals_lead_away_at_once() -> None:
    """Three refusals within a second: nobody listens."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    while not bench.sender.is_away:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        if bench.sender.datagram_to_send(bench.now) is None:
            bench.sender.handle_timeout(bench.now)
        else:
            bench.fail(SendFailure.REFUSED)
    assert bench.now < 1.0
    bench.check_identity(100)


def test_no_way_to_the_receiver_leads_away_too() -> None:
    """Three times without a route: probes only, and a new look-up."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    for _ in range(3):
        bench.fail(SendFailure.UNREACHABLE)
        bench.now += 1.0
    assert bench.sender.is_away
    assert bench.sender.wants_new_socket
    bench.sender.on_new_socket()
    assert not bench.sender.wants_new_socket
    assert len(syncs(bench.until(bench.now + 0.1))) == 1


def test_a_full_socket_is_no_sign_of_absence() -> None:
    """Without buffer space the sender waits, longer each time, and stays."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    for _ in range(5):
        bench.fail(SendFailure.WOULD_BLOCK)
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = at
    assert not bench.sender.is_away
    assert records(bench.send()) == [1]


def test_a_refused_probe_keeps_the_rhythm_of_the_probes() -> None:
    """While nobody is there the socket refuses every second one; the backoff does not add up."""
    bench = acknowledged()
    bench.log(1)
    sent = 0
    is_refused = False
    while bench.now < 10.0:
        if bench.sender.datagram_to_send(bench.now) is None:
            at = bench.sender.next_timeout()
            assert at is not None
            bench.now = max(bench.now, at)
        elif is_refused:
            bench.sender.on_send_failed(SendFailure.REFUSED, bench.now)
            is_refused = False
        else:
            bench.sender.on_datagram_sent(bench.now)
            is_refused = True
            sent += 1
    assert sent >= 8


def test_reconfigure_changes_the_bounds_of_a_stream() -> None:
    """What it may hold can be changed while it runs."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    assert bench.sender.wanted_records > 1
    changed = SenderSettings(
        encoder=encode, max_datagram_size=200, acknowledged=True, max_held_records=2
    )
    bench.sender.reconfigure(changed)
    assert bench.sender.wanted_records == 1


def test_refused_queues_the_previous_datagram_again() -> None:
    """It was lost, and nobody has to wait for a timer to know."""
    bench = acknowledged()
    bench.log(*range(60))
    bench.open()
    first = bench.sender.datagram_to_send(bench.now)
    bench.sender.on_datagram_sent(bench.now)
    second = bench.fail(SendFailure.REFUSED)
    bench.now += 0.2
    assert bench.send()[:2] == [first, second]


def test_refused_after_the_previous_datagram_was_confirmed() -> None:
    """An error that comes late, of a receiver that has gone since, finds nothing to send again."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.log(2)
    bench.fail(SendFailure.REFUSED)
    assert records(bench.until(bench.now + 0.2))[:1] == [2]
    bench.check_identity(2)


def test_a_closing_receiver_gets_no_more_data() -> None:
    """Its answers still count, and probing waits for its successor."""
    bench = acknowledged()
    bench.log(*range(100))
    bench.open()
    count = len(seqs(bench.send()))
    bench.ack(closing=True, floor=1)
    bench.ack(closing=True, floor=count)
    assert bench.sender.counters.confirmed == 100
    bench.log(1)
    assert seqs(bench.until(bench.now + 5.0)) == []


def test_a_receiver_without_a_place_is_asked_again() -> None:
    """It is known why nothing leaves, until there is one."""
    bench = Bench(acknowledged=True)
    bench.log(*range(10))
    bench.send()
    bench.ack(cookie=COOKIE)
    bench.until(bench.now + 0.06)
    bench.ack(closing=True, credit=0)
    assert bench.sender.finds_no_place
    asked = bench.until(bench.now + 20.0)
    assert 2 <= len(asked) < 60
    assert all(Header(*parse(data)).type == DatagramType.SYNC for data in asked)
    bench.ack()
    assert not bench.sender.finds_no_place
    assert records(bench.send()) == [*range(10)]


def test_close_waits_for_the_floor_and_says_goodbye() -> None:
    """Closed when all is final and the goodbye was answered."""
    bench = acknowledged()
    bench.log(*range(10))
    bench.open()
    bench.sender.close()
    count = len(seqs(bench.send()))
    assert not bench.sender.is_closed
    bench.until(bench.now + 0.06)
    bench.ack(floor=count)
    goodbye = syncs(bench.until(bench.now + 0.06))[0]
    assert goodbye.closing
    assert (goodbye.next_seq, goodbye.floor, goodbye.next_rec) == (count, count, 10)
    bench.ack(floor=count)
    assert bench.sender.is_closed


def test_a_goodbye_without_an_answer_is_repeated_and_then_enough() -> None:
    """The records are confirmed; a lost goodbye does not hold the process up for long."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.sender.close()
    start = bench.now
    assert len(syncs(bench.until(bench.now + 10.0))) == 3
    assert bench.sender.is_closed
    assert bench.sender.next_timeout() is None
    assert start < 1.0


def test_give_up_counts_sealed_records_as_unconfirmed() -> None:
    """Perhaps delivered, perhaps not; what was never sealed is dropped as closed."""
    bench = acknowledged()
    bench.log(*range(2_000))
    bench.open()
    bench.send()
    bench.sender.close()
    bench.sender.give_up()
    counters = bench.sender.counters
    assert counters.unconfirmed > 0
    assert counters.unconfirmed + bench.dropped.get("closed", 0) == 2_000
    assert bench.sender.is_closed
    (last,) = syncs(bench.send())
    assert last.closing
    assert last.floor == last.next_seq
    bench.check_identity(2_000)


def test_memory_is_bounded_and_the_caller_is_told() -> None:
    """Above max_retained_bytes nothing more is sealed, and can_send turns false."""
    bench = acknowledged(max_retained_bytes=2_000)
    while bench.sender.can_send:
        bench.log(*range(30))
        bench.until(bench.now)
    assert 2_000 <= bench.sender.retained_bytes <= 2_200


def test_full_datagrams_are_sealed_while_the_receiver_is_away() -> None:
    """What waits for an answer is packed well: only full datagrams are sealed ahead."""
    bench = acknowledged()
    for number in range(300):
        bench.log(number)
        bench.send()
    bench.open()
    sizes = [len(data) for data in bench.send() if is_data(data)]
    assert sum(sizes) / len(sizes) > 140


def test_while_nobody_answers_no_record_is_taken() -> None:
    """They wait where each can be dropped; that they do is a reason to look for a receiver."""
    bench = acknowledged()
    assert bench.sender.wanted_records == 0
    assert bench.sender.next_timeout() is None
    bench.sender.look_for_receiver(bench.now, WALL)
    assert (bench.sender.wanted_records, bench.sender.is_stuck) == (0, True)
    bench.open()
    bench.send()
    assert bench.sender.wanted_records > 1
    assert not bench.sender.is_stuck


def test_with_a_spool_records_are_taken_while_nobody_answers() -> None:
    """They are sealed for it."""
    bench = with_spool()
    bench.log(0)
    assert bench.sender.wanted_records > 1


def test_no_more_is_taken_than_may_be_held() -> None:
    """Sealed and unconfirmed records count as much as those that wait to be sealed."""
    bench = acknowledged(max_held_records=60)
    bench.log(0)
    bench.open()
    logged = 1
    while wanted := bench.sender.wanted_records:
        bench.log(*range(logged, logged + wanted))
        logged += wanted
        bench.send()
    assert logged == 60
    assert bench.sender.retained_records + bench.sender.pending_records == 60
    bench.ack(floor=1)
    assert bench.sender.wanted_records


def test_datagrams_wait_for_records_that_are_to_come() -> None:
    """Records that come in portions are packed as well as if they had come at once."""
    bench = acknowledged()
    bench.log(0)
    bench.open()
    bench.send()
    sent: list[bytes] = []
    for first in range(0, 300, 10):
        batch = [(number,) for number in range(first, first + 10)]
        bench.sender.send_batch(batch, bench.now, bench.now, has_more_to_come=first < 290)
        sent += bench.send()
    sizes = [len(data) for data in sent if is_data(data)]
    assert min(sizes[1:-1]) > 140  # the first one's size is a guess
    assert bench.sender.pending_records == 0


def away_with(bench: Bench, *numbers: int) -> None:
    """Send records to a receiver that is not there any more."""
    bench.log(0)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.log(*numbers)
    bench.until(bench.now + 60.0)
    assert bench.sender.is_away


def test_the_oldest_go_for_want_of_room() -> None:
    """Whole datagrams; as they were sent, nobody knows whether they arrived."""
    bench = acknowledged()
    away_with(bench, *range(1, 101))
    before = bench.sender.retained_records
    bench.sender.drop_oldest(5, "buffer_full")
    given_up = bench.sender.counters.unconfirmed
    assert 5 <= given_up < before
    assert bench.sender.retained_records == before - given_up
    assert bench.dropped == {}
    bench.check_identity(101)
    bench.sender.drop_oldest(1_000, "buffer_full")
    assert (bench.sender.counters.unconfirmed, bench.sender.retained_records) == (100, 0)
    bench.check_identity(101)


def test_what_went_for_want_of_room_is_not_waited_for() -> None:
    """The receiver that comes back learns where the rest begins, and gets it."""
    bench = acknowledged()
    away_with(bench, *range(1, 101))
    bench.sender.drop_oldest(5, "buffer_full")
    lowest = bench.sender.floor
    bench.ack(floor=1)
    again = bench.until(bench.now + 1.0)
    assert syncs(again)[0].floor == lowest
    assert min(seqs(again)) == lowest
    bench.ack(floor=lowest + len(set(seqs(again))))
    bench.check_identity(101)
    assert bench.sender.is_idle


def test_records_without_a_number_go_after_those_that_have_one() -> None:
    """They are younger; they count as dropped, and the next receiver is told of them."""
    bench = acknowledged()
    bench.log(*range(5))
    bench.send()
    bench.sender.drop_oldest(4, "buffer_full")
    assert bench.dropped == {"buffer_full": 4}
    bench.check_identity(5)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    assert bench.sender.counters.confirmed == 1
    assert syncs(bench.until(bench.now + 20.0))[-1].dropped_records == 4


def test_what_the_spool_has_stays() -> None:
    """Its room is another; only what memory alone has makes room in memory."""
    bench = with_spool()
    bench.log(*range(100))
    store_all(bench, {})
    stored = bench.sender.spooled_records
    bench.sender.drop_oldest(1_000, "buffer_full")
    assert bench.sender.spooled_records == stored > 0
    bench.check_identity(100)


def test_one_way_the_oldest_go_while_they_are_refused() -> None:
    """Cut batches first, then what is not cut; the numbers are given to others."""
    bench = Bench(max_retries=50)
    bench.log(*range(100))
    assert not bench.sender.is_stuck
    bench.fail(SendFailure.REFUSED)
    assert bench.sender.is_stuck
    assert not bench.sender.wanted_records
    bench.sender.drop_oldest(1, "buffer_full")
    first = bench.dropped["buffer_full"]
    bench.sender.drop_oldest(50 - first, "buffer_full")
    assert bench.dropped == {"buffer_full": 50}
    bench.check_identity(100)
    bench.now += 5.0
    sent = [data for data in bench.send() if is_data(data)]
    assert records(sent) == list(range(50, 100))
    assert seqs(sent)[0] == 0
    bench.check_identity(100)


def test_emsgsize_seals_again_in_fragments() -> None:
    """What was sealed too large leaves as fragments under new numbers."""
    bench = acknowledged(max_datagram_size=1_000)
    bench.log(*range(200))
    bench.open()
    bench.now += 0.1
    refused = bench.fail(SendFailure.TOO_BIG, 300)
    sent = bench.until(bench.now + 0.02)
    assert refused not in sent
    assert max(map(len, sent)) <= 300
    group = [data for data in sent if is_data(data)]
    assert json.loads(b"".join(CHECKSUM.open(data) for data in group)) == list(range(200))
    assert syncs(sent)[0].floor == 1
    assert seqs(sent) == [1, 2, 3, 4]
    assert bench.sender.counters.resealed == 0
    bench.ack(floor=5)
    assert bench.sender.counters.confirmed == 200
    bench.check_identity(200)


def test_sealing_again_what_was_sent_is_counted() -> None:
    """A path that became smaller: copies are possible, and their number is known."""
    bench = acknowledged(max_datagram_size=1_000)
    bench.log(*range(200))
    bench.open()
    bench.send()
    bench.sender.set_max_datagram_size(300)
    assert max(map(len, bench.until(bench.now + 0.1))) <= 300
    assert bench.sender.counters.resealed == 200


def test_a_black_hole_is_found() -> None:
    """Small datagrams are answered, large ones never: the size falls to 1,200 within 5 s."""
    bench = acknowledged(max_datagram_size=1_432)
    bench.log(*range(10_000, 11_000))
    bench.open()
    start = bench.now
    while bench.sender.max_datagram_size > 1_200 and bench.now < start + 10:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        if syncs(bench.send()):
            bench.ack()
    assert bench.sender.max_datagram_size == 1_200
    assert bench.now - start <= 5.0


def test_a_receiver_without_room_is_no_black_hole() -> None:
    """Datagrams that are refused for want of credit say nothing about the path."""
    bench = acknowledged(max_datagram_size=1_432)
    bench.log(*range(300), list(range(200)))
    bench.open()
    bench.ack(credit=0)
    while bench.now < 20.0:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        bench.send()
        bench.ack(credit=0)
    assert bench.sender.max_datagram_size == 1_432


def test_a_slow_receiver_is_not_probed_in_a_hurry() -> None:
    """While it answers and has no room, probes stay rare: at most about two per second."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.now += 0.001
    bench.ack(credit=0)
    sent = 0
    while bench.now < 20.0:
        at = bench.sender.next_timeout()
        assert at is not None
        bench.now = max(bench.now, at)
        sent += len(bench.send())
        bench.ack(credit=0)
    assert sent <= 60


def test_dropped_records_are_told_within_a_second() -> None:
    """As in one-way delivery."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    bench.sender.note_dropped(12, bench.now)
    assert syncs(bench.until(bench.now + 1.1))[0].dropped_records == 12


def test_heartbeat_while_idle() -> None:
    """Every ten seconds, so that the receiver knows that we live."""
    bench = acknowledged()
    bench.log(1)
    bench.open()
    bench.send()
    bench.ack(floor=1)
    assert 5 <= len(syncs(bench.until(bench.now + 60.0))) <= 7


def test_an_idle_sender_with_an_answered_close_takes_no_more() -> None:
    """Closed: late answers are stale, nothing is to be sent."""
    bench = acknowledged()
    bench.sender.close()
    assert bench.sender.is_closed
    bench.ack()
    assert bench.sender.counters.ignored == {"stale": 1}
    assert bench.send() == []


# --- the spool --------------------------------------------------------------------------------


def store_all(bench: Bench, spool: dict[int, bytes]) -> None:
    while offered := bench.sender.datagrams_to_store(bench.now):
        spool.update({each.seq: each.data for each in offered})
        bench.sender.on_stored([each.seq for each in offered])


def with_spool(**settings: object) -> Bench:
    return acknowledged(storage=StoragePolicy.WHEN_NEEDED, **settings)


def test_while_the_receiver_is_away_datagrams_are_stored() -> None:
    """Sealed records are offered once, and count as spooled."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(500))
    bench.until(1.0)
    store_all(bench, spool)
    assert bench.sender.spooled_records == 500
    assert bench.sender.datagrams_to_store(bench.now) == []
    bench.check_identity(500)


def test_an_open_stream_with_room_stores_nothing() -> None:
    """The disk is for the time when nobody answers."""
    bench = with_spool()
    bench.log(*range(100))
    bench.open()
    bench.send()
    assert bench.sender.datagrams_to_store(bench.now) == []


def test_write_through_stores_everything() -> None:
    """With ALWAYS even an open stream's datagrams go to the spool."""
    bench = acknowledged(storage=StoragePolicy.ALWAYS)
    bench.log(*range(100))
    bench.open()
    bench.send()
    (first, *_) = bench.sender.datagrams_to_store(bench.now)
    assert isinstance(first, StoredDatagram)
    assert first.seq == 0


def test_stored_datagrams_leave_memory_and_are_loaded_again() -> None:
    """More than fits in memory is on disk only, and comes back in order when the way is free."""
    bench = with_spool(max_retained_bytes=4_000)
    spool: dict[int, bytes] = {}
    total = 0
    while total < 5_000:
        bench.log(*range(total, total + 50))
        total += 50
        bench.until(bench.now + 0.01)
        store_all(bench, spool)
    assert bench.sender.retained_bytes < 4_200
    assert bench.sender.spooled_records > 4_000
    bench.open()
    sent: dict[int, bytes] = {}
    while not bench.sender.is_idle:
        sent.update({header(data).seq: data for data in bench.send() if is_data(data)})
        for seq in bench.sender.datagrams_to_load():
            bench.sender.on_loaded(seq, spool[seq])
        bench.now += 0.01
        bench.ack(floor=min(set(range(len(sent) + 1)) - set(sent)))
    assert records([sent[seq] for seq in sorted(sent)]) == list(range(total))
    assert bench.sender.counters.confirmed == total
    assert bench.sender.floor == len(sent)


def test_with_room_in_memory_stored_datagrams_stay_at_hand() -> None:
    """The disk is a second copy then, and nothing has to be read back."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(500))
    bench.until(1.0)
    store_all(bench, spool)
    bench.open()
    assert bench.sender.datagrams_to_load() == []
    assert seqs(bench.send())


def test_a_group_is_cut_smaller_also_when_the_spool_has_parts_of_it() -> None:
    """Fragments that are held at the far side and not in memory are read back for it."""
    bench = with_spool(max_retained_bytes=500)
    spool: dict[int, bytes] = {}
    big = list(range(290))
    bench.log(big)
    bench.until(0.0)
    store_all(bench, spool)
    bench.open()
    sent: dict[int, bytes] = {}
    for limit in (200, 140):
        bench.sender.set_max_datagram_size(limit)
        for _ in range(60):
            for seq in bench.sender.datagrams_to_load():
                bench.sender.on_loaded(seq, spool[seq])
            sent.update({header(data).seq: data for data in bench.send() if is_data(data)})
            if limit == 200 and len(sent) == len(spool):
                bench.ack(bitmap=1 << max(spool))  # the last one, which stays small enough
            bench.now += 0.01
    last = {seq: data for seq, data in sent.items() if seq >= len(spool)}
    body = b"".join(CHECKSUM.open(last[seq]) for seq in sorted(last))
    assert json.loads(body) == [big]
    assert bench.sender.floor == len(spool)


def test_a_full_disk_is_left_alone_for_a_while() -> None:
    """After a failure nothing is offered for five seconds; memory keeps the records."""
    bench = with_spool()
    bench.log(*range(100))
    bench.until(1.0)
    assert bench.sender.datagrams_to_store(1.0)
    bench.sender.on_store_failed(1.0)
    assert bench.sender.datagrams_to_store(5.9) == []
    assert bench.sender.datagrams_to_store(6.0)
    bench.check_identity(100)


def test_what_the_spool_deleted_is_counted() -> None:
    """Records on deleted segments are dropped by cause; those still in memory are not."""
    bench = with_spool(max_retained_bytes=1_000)
    spool: dict[int, bytes] = {}
    for start in range(0, 1_000, 50):
        bench.log(*range(start, start + 50))
        bench.until(bench.now + 0.01)
        store_all(bench, spool)
    before = bench.sender.spooled_records
    bench.sender.on_spool_dropped(0, max(spool))
    assert bench.dropped["spool_full"] > 0
    assert bench.dropped["spool_full"] + bench.sender.retained_records == before
    bench.check_identity(1_000)


def test_a_corrupt_frame_drops_its_record_with_all_its_fragments() -> None:
    """A group that lost a fragment can never be final: all of it is given up, once counted."""
    bench = with_spool(max_retained_bytes=100)
    spool: dict[int, bytes] = {}
    bench.log(list(range(200)))
    bench.until(0.0)
    store_all(bench, spool)
    bench.open()
    wanted = bench.sender.datagrams_to_load()
    assert len(wanted) > 2
    bench.sender.on_loaded(wanted[1], None)
    assert bench.dropped == {"spool_corrupt": 1}
    assert bench.sender.is_idle
    bench.check_identity(1)


def test_give_up_leaves_spooled_records_to_another_process() -> None:
    """They are neither confirmed nor lost, and no goodbye says that they will never come."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(100))
    bench.until(1.0)
    store_all(bench, spool)
    bench.sender.close()
    bench.sender.give_up()
    assert bench.sender.spooled_records == 100
    assert bench.sender.counters.unconfirmed == 0
    assert bench.send() == []
    bench.check_identity(100)


def test_an_orphaned_stream_is_resumed() -> None:
    """Another process sends the same bytes under the same numbers, and says so in SYNC."""
    first = with_spool()
    spool: dict[int, bytes] = {}
    first.log(*range(500))
    first.until(1.0)
    store_all(first, spool)
    del spool[0]

    second = with_spool()
    second.sender.resume([(header(data), len(data)) for data in spool.values()], 0.0, wall=0.0)
    second.sender.close()
    assert second.sender.floor == 1
    sync = syncs(second.send())[0]
    assert sync.resumed
    assert (sync.floor, sync.next_seq, sync.next_rec) == (1, len(spool) + 1, 500)
    second.ack(cookie=COOKIE)
    second.until(0.1)
    second.ack(floor=1)
    sent: dict[int, bytes] = {}
    while not second.sender.is_closed:
        for seq in second.sender.datagrams_to_load():
            second.sender.on_loaded(seq, spool[seq])
        sent.update({header(data).seq: data for data in second.send() if is_data(data)})
        second.now += 0.06
        second.ack(floor=1 + len(sent))
    assert sent == spool


def test_a_gap_in_the_spool_is_passed_by_the_floor() -> None:
    """Datagrams that the spool lost in the middle are announced as given up."""
    first = with_spool()
    spool: dict[int, bytes] = {}
    first.log(*range(500))
    first.until(1.0)
    store_all(first, spool)
    del spool[2]
    second = with_spool()
    second.sender.resume([(header(data), len(data)) for data in spool.values()], 0.0, wall=0.0)
    second.send()
    second.ack(cookie=COOKIE)
    second.until(0.1)
    for seq in second.sender.datagrams_to_load():
        second.sender.on_loaded(seq, spool[seq])
    second.ack()
    for seq in second.sender.datagrams_to_load():
        second.sender.on_loaded(seq, spool[seq])
    second.send()
    second.ack(floor=2)
    assert second.sender.floor == 3
    assert syncs(second.until(second.now + 1.0))[0].floor == 3


# --- keys -------------------------------------------------------------------------------------


def test_sealed_with_a_key_and_believes_only_that_key() -> None:
    """DATA and SYNC carry the tag; an ACK with a checksum is not believed."""
    key = HmacKey(9, b"s" * 32)
    bench = acknowledged(seal=key.sender)
    bench.log(1)
    (sync,) = bench.send()
    assert header(sync).key_id == 9
    decode_sync(key.receiver.open(sync), key.receiver.overhead)
    bench.ack(cookie=COOKIE)
    assert bench.sender.counters.ignored == {"unknown_key": 1}
    ack = Ack(receiver_epoch=EPOCH, cookie=COOKIE)
    data = encode_ack(key.receiver, ack, stream_id=STREAM, counter=1, sealed_at=0)
    bench.sender.receive_datagram(data, bench.now)
    assert len(bench.until(0.1)) == 1


def test_resealing_works_with_a_key() -> None:
    """The sender opens its own datagrams to cut them smaller."""
    key = HmacKey(9, b"s" * 32)
    bench = acknowledged(seal=key.sender, own_seal=key.receiver, max_datagram_size=1_000)
    bench.log(*range(200))
    bench.send()
    for counter, cookie in ((1, COOKIE), (2, None)):
        ack = Ack(receiver_epoch=EPOCH, cookie=cookie, credit=1 << 20)
        data = encode_ack(key.receiver, ack, stream_id=STREAM, counter=counter, sealed_at=0)
        bench.sender.receive_datagram(data, bench.now)
        bench.until(bench.now + 0.06)
    bench.now += 0.1
    bench.sender.set_max_datagram_size(300)
    group = [data for data in bench.until(bench.now + 0.02) if is_data(data)]
    body = b"".join(key.receiver.open(data) for data in group)
    assert json.loads(body) == list(range(200))


def test_compression_is_the_encoders_business() -> None:
    """The codec that the encoder names is the codec in the header."""

    def packed(snapshots: Sequence[Snapshot]) -> Encoded:
        plain = encode(snapshots)
        return Encoded(1, zlib.compress(plain.body), plain.raw_size)

    bench = Bench(encoder=packed)
    bench.log(*range(100))
    data = [each for each in bench.send() if is_data(each)]
    assert {header(each).codec for each in data} == {1}
    texts = [json.loads(zlib.decompress(CHECKSUM.open(each))) for each in data]
    assert [number for text in texts for number in text] == list(range(100))


def test_the_host_is_in_the_settings() -> None:
    """A header with nothing in it is the default."""
    assert SenderSettings().header == BatchHeader("")


def test_a_resumed_stream_tells_the_time_of_day() -> None:
    """Its SYNC counter begins there: it is above every one of the dead process's, on any clock."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(50))
    bench.until(1.0)
    store_all(bench, spool)

    heir = with_spool()
    wall = 1_800_000_000.0
    heir.sender.resume([(header(data), len(data)) for data in spool.values()], heir.now, wall)
    (first, *_) = heir.send()
    assert header(first).sealed_at == wall
    assert header(first).seq == (int(wall) << 20) + 1


def test_an_answer_to_what_the_spool_never_had_settles_the_rest() -> None:
    """A process may have sent more from memory than it had stored when it died."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(50))
    bench.until(1.0)
    store_all(bench, spool)

    heir = with_spool()
    heir.sender.resume(
        [(header(data), len(data)) for data in spool.values()], heir.now, wall=heir.now
    )
    heir.send()
    heir.ack(cookie=COOKIE)
    heir.until(heir.now + 0.1)
    heir.ack(floor=len(spool) + 7, bitmap=0b1010)
    assert heir.sender.counters.confirmed == 50
    assert heir.sender.is_idle


def test_a_datagram_that_left_the_spool_and_not_memory_is_not_spooled() -> None:
    """It counts as retained again, and as unconfirmed when the process gives up."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(*range(50))
    bench.until(1.0)
    store_all(bench, spool)
    assert bench.sender.spooled_records == 50
    bench.sender.on_spool_dropped(0, max(spool))
    assert (bench.sender.spooled_records, bench.sender.retained_records) == (0, 50)
    bench.sender.give_up()
    assert bench.sender.counters.unconfirmed == 50


def test_what_the_spool_lost_is_counted_by_its_cause() -> None:
    """Too old is not the same as too much."""
    bench = with_spool(max_retained_bytes=1_000)
    spool: dict[int, bytes] = {}
    for start in range(0, 1_000, 50):
        bench.log(*range(start, start + 50))
        bench.until(bench.now + 0.01)
        store_all(bench, spool)
    bench.sender.on_spool_dropped(0, max(spool), "expired")
    assert bench.dropped["expired"] > 0
    assert "spool_full" not in bench.dropped
    bench.check_identity(1_000)


def test_a_record_of_which_the_spool_kept_some_fragments_is_given_up() -> None:
    """Nobody could put it together; the others of the stream arrive."""
    bench = with_spool()
    spool: dict[int, bytes] = {}
    bench.log(list(range(200)), 7)
    bench.until(1.0)
    store_all(bench, spool)
    assert len(spool) > 3
    del spool[1]

    heir = with_spool()
    heir.sender.resume(
        [(header(data), len(data)) for data in spool.values()], heir.now, wall=heir.now
    )
    assert heir.dropped == {"spool_corrupt": 1}
    assert heir.sender.spooled_records == 1


def test_one_way_one_record_is_taken_to_find_out_whether_it_is_refused() -> None:
    """The others stay where each can be dropped alone."""
    bench = Bench(max_retries=0)
    bench.log(0)
    bench.send()
    bench.log(1)
    bench.fail(SendFailure.REFUSED)
    assert bench.dropped == {"send_failed": 2}
    assert bench.sender.is_stuck
    assert bench.sender.wanted_records == 1
    bench.log(2)
    assert bench.sender.wanted_records == 0
    bench.now += 5.0
    bench.send()
    assert not bench.sender.is_stuck
    assert bench.sender.wanted_records > 1
