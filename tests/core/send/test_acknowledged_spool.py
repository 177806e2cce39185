"""An acknowledged stream and its spool: what is offered, wanted back, lost and taken up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.core.send.bench import (
    COOKIE,
    EPOCH,
    WALL,
    header,
    is_data,
    store_all,
    syncs,
    with_spool,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchudp_handler.core.send.delivery import Delivery


def test_a_stream_of_another_process_is_taken_up_and_asks_for_its_receiver() -> None:
    """Its numbers go on, its SYNC says so, and its bytes are wanted back once there is one."""
    dead, spool = with_spool(), dict[int, bytes]()
    dead.log(*range(50))
    store_all(dead, spool)
    heir = with_spool()
    stored = [(header(data), len(data)) for data in spool.values()]
    heir.sender.resume(stored, heir.now, WALL)
    assert heir.sender.spooled_records == 50
    assert heir.sender.datagrams_to_load() == [], "nobody takes them yet"
    (question,) = heir.send()
    assert syncs([question])[0].resumed
    assert header(question).sealed_at == int(WALL)
    heir.ack(cookie=COOKIE)
    heir.until(0.06)
    heir.ack()
    assert heir.sender.datagrams_to_load() == list(spool)
    for seq, data in spool.items():
        heir.sender.on_loaded(seq, data)
    assert set(heir.send()) == set(spool.values())


@pytest.mark.parametrize(
    ("lose", "cause"),
    [
        (lambda sender, seq: sender.on_loaded(seq, None), "spool_corrupt"),
        (lambda sender, seq: sender.on_spool_dropped(seq, seq, "expired"), "expired"),
    ],
)
def test_what_the_spool_lost_is_told_to_the_receiver_at_once(
    lose: Callable[[Delivery, int], None], cause: str
) -> None:
    """It would wait for a number that will not come; so it is, however the loss is found."""
    bench = with_spool(max_retained_bytes=100)
    bench.log(*range(30))
    store_all(bench, {})
    bench.open()
    first, *_ = bench.sender.datagrams_to_load()
    lose(bench.sender, first)
    assert set(bench.dropped) == {cause}
    bench.now += 0.06
    data = bench.sender.datagram_to_send(bench.now)
    assert data is not None
    (told,) = syncs([data])
    assert (told.floor, told.receiver_epoch) == (first + 1, EPOCH)


def test_at_the_end_of_the_process_everything_is_offered_to_the_spool() -> None:
    """Also while a receiver is there, and although the disk was full a moment ago."""
    bench = with_spool()
    bench.log(*range(50))
    bench.open()
    sent = bench.send()
    assert bench.sender.datagrams_to_store(bench.now) == []
    bench.sender.on_store_failed(bench.now)
    bench.sender.store_everything()
    offered = bench.sender.datagrams_to_store(bench.now)
    assert [each.data for each in offered] == [data for data in sent if is_data(data)]


def test_a_disk_that_failed_has_peace_for_a_while() -> None:
    """Memory keeps the records meanwhile."""
    bench = with_spool()
    bench.log(*range(50))
    assert bench.sender.datagrams_to_store(bench.now)
    bench.sender.on_store_failed(bench.now)
    assert bench.sender.datagrams_to_store(bench.now + 1.0) == []
    assert bench.sender.datagrams_to_store(bench.now + 60.0)


def test_a_spool_that_somebody_emptied_gets_again_what_memory_has() -> None:
    """All of it, once those that are gone are known to be."""
    bench, spool = with_spool(), dict[int, bytes]()
    bench.log(*range(50))
    store_all(bench, spool)
    bench.sender.on_spool_dropped(0, max(spool))
    assert bench.sender.datagrams_to_store(bench.now) == []
    bench.sender.store_again()
    offered = bench.sender.datagrams_to_store(bench.now)
    assert {each.seq: each.data for each in offered} == spool
    assert bench.dropped == {}
