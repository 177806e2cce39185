"""Streams that dead processes left: when they are wanted, how many, and what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchudp_handler.core.send.adoption import LOOK_INTERVAL, Adoption
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.deliveries import make_delivery
from tests.core.send.bench import STREAM, WALL, header, store_all, with_spool

if TYPE_CHECKING:
    from batchudp_handler.core.send.delivery import Delivery

OTHER = STREAM + 1


class House:
    """An adoption, the counters of its handler, and what a dead process left."""

    def __init__(self) -> None:
        self.counters = SenderCounters()
        self.adoption = Adoption(self._make, self.counters)

    def _make(self, stream_id: int) -> Delivery:
        settings = with_spool().settings
        return make_delivery(
            settings, stream_id=stream_id, random=lambda: 0.5, counters=self.counters
        )

    def take_up(self, stream_id: int, stored: dict[int, bytes], records: int) -> Delivery:
        headers = [(header(stored[seq]), len(stored[seq])) for seq in sorted(stored)]
        return self.adoption.resume(stream_id, headers, records, 5.0, WALL)


def left_behind(*records: object) -> dict[int, bytes]:
    """The datagrams that a dead process stored."""
    bench, spool = with_spool(), dict[int, bytes]()
    bench.log(*records)
    bench.until(1.0)
    store_all(bench, spool)
    return spool


def test_the_first_look_is_due_at_once_and_the_next_after_a_minute() -> None:
    """Whoever asks in between is told that nothing is wanted, and when it will be."""
    adoption = House().adoption
    assert adoption.wanted(100.0) == 1
    assert adoption.wanted(100.0) == 0
    assert adoption.next_timeout() == 100.0 + LOOK_INTERVAL
    assert adoption.wanted(100.0 + LOOK_INTERVAL - 0.1) == 0
    assert adoption.wanted(100.0 + LOOK_INTERVAL) == 1


def test_streams_that_were_found_are_wanted_when_they_can_be_taken_up() -> None:
    """Before the next look, which stays where it was."""
    adoption = House().adoption
    adoption.wanted(100.0)
    adoption.on_looked(107.0)
    assert not adoption.is_done
    assert adoption.next_timeout() == 107.0
    assert adoption.wanted(106.9) == 0
    assert adoption.wanted(107.0) == 1
    adoption.on_looked(None)
    assert adoption.is_done
    assert adoption.next_timeout() == 100.0 + LOOK_INTERVAL


def test_a_find_beyond_the_next_look_does_not_delay_it() -> None:
    """Others may have died meanwhile."""
    adoption = House().adoption
    adoption.wanted(100.0)
    adoption.on_looked(1_000.0)
    assert adoption.next_timeout() == 100.0 + LOOK_INTERVAL


def test_there_are_no_more_streams_at_a_time_than_allowed() -> None:
    """The end of one makes room for another."""
    house = House()
    adoption = house.adoption
    adoption.most = 2
    assert adoption.wanted(100.0) == 2
    first = house.take_up(STREAM, left_behind(1), 1)
    assert adoption.wanted(100.0 + LOOK_INTERVAL) == 1
    house.take_up(OTHER, left_behind(2), 1)
    assert (adoption.wanted(1e6), adoption.next_timeout()) == (0, None)
    assert not adoption.is_done
    adoption.release(first)
    assert [stream.stream_id for stream in adoption.streams] == [OTHER]
    assert adoption.wanted(1e6) == 1


def test_at_the_end_of_this_process_no_more_are_taken_up() -> None:
    """Whatever the next look would find belongs to another process."""
    adoption = House().adoption
    adoption.end()
    assert (adoption.wanted(1e6), adoption.next_timeout()) == (0, None)
    assert adoption.is_done


def test_a_stream_goes_on_under_its_number_with_all_of_its_records() -> None:
    """Nothing is missing, so nothing is counted; it takes no record of this process."""
    house = House()
    stream = house.take_up(STREAM, left_behind(*range(50)), 50)
    assert house.adoption.streams == [stream]
    assert (stream.stream_id, stream.spooled_records) == (STREAM, 50)
    assert not stream.can_send
    assert not stream.is_closed
    assert house.counters.dropped == {}


def test_records_that_were_found_and_cannot_be_read_are_counted_once() -> None:
    """Also where the stream itself has counted some, of which it lacks a fragment."""
    spool = left_behind(list(range(200)), 7)
    assert len(spool) > 3
    del spool[1]
    house = House()
    stream = house.take_up(STREAM, spool, 5)  # one is torn, one is there, three are gone
    assert stream.spooled_records == 1
    assert house.counters.dropped == {"spool_corrupt": 4}


def test_more_records_than_were_found_are_no_loss() -> None:
    """The finder's number is of an earlier moment."""
    house = House()
    assert house.take_up(STREAM, left_behind(1, 2, 3), 1).spooled_records == 3
    assert house.counters.dropped == {}


def test_a_stream_of_which_nothing_can_be_read_is_counted_as_lost() -> None:
    """All of its records, and it holds none."""
    house = House()
    stream = house.take_up(STREAM, {}, 9)
    assert house.counters.dropped == {"spool_corrupt": 9}
    assert stream.pending_records + stream.retained_records + stream.spooled_records == 0
