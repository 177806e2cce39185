"""What both deliveries have in common: sizes, settings and the records they take."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

import pytest

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.wire.constants import MIN_DATAGRAM_SIZE
from batchudp_handler.core.wire.datagram import CHECKSUM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

from tests.core.send.bench import (
    WALL,
    Bench,
    acknowledged,
    encode,
    header,
    is_data,
    records,
    seqs,
    syncs,
)


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


def test_the_same_bytes_until_their_fate_is_known() -> None:
    """Asking twice gives the same datagram."""
    bench = Bench()
    bench.log(1)
    assert bench.sender.datagram_to_send(0.0) is bench.sender.datagram_to_send(0.0)


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


def test_the_clock_offset_reaches_the_header() -> None:
    """`sealed_at` is wall-clock time, as last told."""
    bench = Bench()
    bench.log(1)
    assert header(bench.send()[-1]).sealed_at == int(WALL)


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


def test_before_the_first_answer_nothing_is_known_of_the_receiver() -> None:
    """A one-way stream never learns more, and retains nothing."""
    sender = Bench().sender
    assert not sender.is_acknowledged
    assert acknowledged().sender.is_acknowledged
    assert (sender.is_away, sender.finds_no_place, sender.meets_two_receivers) == (False,) * 3
    assert (sender.rtt, sender.unanswered_since) == (None, None)
    assert (sender.alternations, sender.congestion_window) == (0, 0)


def test_a_stream_that_nobody_answers_retains_and_stores_nothing() -> None:
    """Whatever is sent is gone; a disk gets nothing, and is asked for nothing."""
    bench = Bench()
    bench.log(*range(100))
    bench.send()
    sender = bench.sender
    sender.store_everything()
    sender.on_stored([0])
    sender.on_store_failed(0.0)
    sender.on_loaded(0, None)
    sender.store_again()
    sender.resume([], 0.0, WALL)
    sender.on_spool_dropped(0, 5)
    assert (sender.datagrams_to_store(0.0), sender.datagrams_to_load()) == ([], [])
    assert (sender.retained_bytes, sender.bytes_in_flight, sender.floor) == (0, 0, 0)
    assert sender.counters.sent == 100
    assert sender.counters.dropped == {}
    bench.check_identity(100)


def test_whatever_a_one_way_stream_receives_is_counted_as_no_answer() -> None:
    """Also what would be an answer to an acknowledged one."""
    bench = Bench()
    bench.ack(floor=1)
    assert bench.sender.counters.ignored == {"unsupported_type": 1}


def test_who_looks_for_a_receiver_tells_what_time_it_is() -> None:
    """The next datagram says when it was sealed, also if no record was taken since."""
    bench = Bench()
    bench.log(1)
    bench.sender.look_for_receiver(0.0, WALL + 500.0)
    assert {header(data).sealed_at for data in bench.send()} == {int(WALL) + 500}
    asking = acknowledged()
    asking.sender.look_for_receiver(0.0, WALL + 500.0)
    (question,) = asking.send()
    assert header(question).sealed_at == int(WALL) + 500


def test_a_size_that_is_told_again_changes_nothing() -> None:
    """The path says its size often; what was learned of it since would be forgotten each time."""
    bench = acknowledged(max_datagram_size=1_432)
    bench.log(*range(10_000, 11_000))
    bench.open()
    while bench.sender.max_datagram_size == 1_432:  # large datagrams vanish
        assert bench.now < 10.0
        bench.now = max(bench.now, bench.sender.next_timeout() or 0.0)
        if syncs(bench.send()):
            bench.ack()
        if bench.sender.max_datagram_size == 1_432:
            bench.sender.set_max_datagram_size(1_432)
    assert bench.sender.max_datagram_size == 1_200


def test_no_size_is_below_what_every_path_carries() -> None:
    """A path that names less than that is not believed."""
    bench = Bench()
    bench.sender.set_max_datagram_size(1)
    assert bench.sender.max_datagram_size == MIN_DATAGRAM_SIZE
