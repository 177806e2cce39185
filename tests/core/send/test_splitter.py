"""Records into bodies that fit."""

from __future__ import annotations

import json
import zlib
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.payload.encoded import Encoded
from batchudp_handler.core.records.snapshot import (
    EXC_TEXT,
    EXTRAS,
    NAME,
    SNAPSHOT_LENGTH,
    TEMPLATE,
    VALUES,
    render,
)
from batchudp_handler.core.records.truncation import truncate
from batchudp_handler.core.send.counters import SenderCounters
from batchudp_handler.core.send.splitter import (
    MAX_PAYLOAD,
    MAX_RECORDS,
    Group,
    Splitter,
    fragments,
)
from batchudp_handler.core.wire.constants import MAX_FRAGMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchudp_handler.core.records.batch import Snapshot

ROOM = 1_000


def snapshot(text: object) -> Snapshot:
    """A snapshot of which only the text matters."""
    fields: list[object] = [None] * SNAPSHOT_LENGTH
    fields[NAME] = "name"
    fields[VALUES] = text
    return tuple(fields)


def encode(snapshots: Sequence[Snapshot]) -> Encoded:
    """A small real encoding: the texts as JSON, compressed where it pays."""
    payload = json.dumps([_text(each) for each in snapshots]).encode()
    packed = zlib.compress(payload, 1)
    return Encoded(1, min(packed, payload, key=len), len(payload))


def _text(snapshot: Snapshot) -> object:
    if snapshot[VALUES] is Ellipsis:
        raise TypeError("not JSON")
    return [snapshot[VALUES], snapshot[EXC_TEXT], snapshot[EXTRAS]]


def decode(body: bytes) -> list[str]:
    payload = zlib.decompress(body) if body[:1] == b"x" else body
    return [text for text, _, _ in json.loads(payload)]


class Bench:
    """A splitter with its counters."""

    def __init__(self, room: int = ROOM, max_fragments: int = MAX_FRAGMENTS) -> None:
        self.counters = SenderCounters()
        self.splitter = Splitter(encode, self.counters, room=room, max_fragments=max_fragments)

    def bodies(self) -> list[bytes]:
        """All groups, each put together again."""
        found = []
        while (group := self.splitter.next_group()) is not None:
            assert all(len(body) <= self.splitter._room for body in group.bodies)
            found.append(b"".join(group.bodies))
        return found

    def texts(self) -> list[str]:
        return [text for body in self.bodies() for text in decode(body)]


def noise(random: Random, length: int) -> str:
    """A text that does not compress below two thirds."""
    return random.randbytes(length // 2).hex()


@given(st.lists(st.integers(0, 3_000), max_size=60), st.integers(0, 2**32))
def test_every_record_comes_out_once_and_in_order(lengths: list[int], seed: int) -> None:
    """Whatever the sizes, the texts that come out are those that went in."""
    random = Random(seed)
    texts = [noise(random, length) for length in lengths]
    bench = Bench()
    bench.splitter.append([snapshot(text) for text in texts])
    assert bench.texts() == texts
    assert len(bench.splitter) == 0


def test_datagrams_are_filled() -> None:
    """Records alike are packed close to the limit from the second datagram on."""
    random = Random(1)
    bench = Bench()
    bench.splitter.append([snapshot(f"user {random.randrange(1000)} in") for _ in range(5_000)])
    sizes = [len(body) for body in bench.bodies()]
    assert min(sizes[1:-1]) > 0.8 * ROOM


def test_a_trickle_does_not_spoil_the_guess() -> None:
    """Batches that are small because no more waits say nothing about a full one."""
    bench = Bench()
    bench.splitter.append([snapshot("the same")] * 5_000)
    bench.bodies()
    full = bench.splitter.full_batch
    for _ in range(20):
        bench.splitter.append([snapshot("the same")])
        bench.bodies()
    assert bench.splitter.full_batch == full


def test_the_number_of_attempts_is_bounded() -> None:
    """A batch is encoded at most about twice per datagram that comes out of it."""
    calls = 0

    def counting(snapshots: Sequence[Snapshot]) -> Encoded:
        nonlocal calls
        calls += 1
        return encode(snapshots)

    random = Random(2)
    splitter = Splitter(counting, SenderCounters(), room=ROOM, max_fragments=1)
    splitter.append([snapshot(noise(random, random.randrange(20, 200))) for _ in range(2_000)])
    groups = 0
    while splitter.next_group() is not None:
        groups += 1
    assert calls <= 2 * groups


def test_one_call_makes_one_group() -> None:
    """The flusher gets a chance to let go of the interpreter after each datagram."""
    bench = Bench()
    bench.splitter.append([snapshot("x")] * 10_000)
    group = bench.splitter.next_group()
    assert group is not None
    assert len(group.snapshots) <= MAX_RECORDS
    assert len(bench.splitter) == 10_000 - len(group.snapshots)


def test_records_put_back_come_first() -> None:
    """A datagram that could not be sent is cut again before what came later."""
    bench = Bench()
    bench.splitter.append([snapshot(str(number)) for number in range(10)])
    group = bench.splitter.next_group()
    assert group is not None
    bench.splitter.append([snapshot("later")])
    bench.splitter.put_back([group])
    assert bench.texts() == [str(number) for number in range(10)] + ["later"]


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_limit_of_one_datagram(extra: int) -> None:
    """One byte more than a datagram takes makes two fragments, in order."""
    random = Random(3)
    overhead = len(encode([snapshot("")]).body)
    text = noise(random, 4 * ROOM)
    while len(encode([snapshot(text)]).body) > ROOM + extra:
        text = text[:-1]
    assert len(encode([snapshot(text)]).body) == ROOM + extra
    assert overhead < ROOM
    bench = Bench()
    bench.splitter.append([snapshot(text)])
    group = bench.splitter.next_group()
    assert group is not None
    assert [len(body) for body in group.bodies] == ([ROOM, 1] if extra > 0 else [ROOM + extra])
    assert bench.counters.fragmented == (extra > 0)


def test_fragments_are_of_equal_length_but_the_last() -> None:
    """A receiver can reserve room after seeing any of them."""
    assert fragments(b"abcdefg", 3) == (b"abc", b"def", b"g")
    assert fragments(b"", 3) == (b"",)


def test_too_many_fragments_cut_the_text() -> None:
    """Above the limit the text says how much of it is missing, and the record is counted."""
    random = Random(4)
    text = noise(random, 20 * ROOM)
    bench = Bench(max_fragments=4)
    bench.splitter.append([snapshot(text), snapshot("next")])
    first, second = bench.texts()
    kept, marker = first.split("… ")
    assert text.startswith(kept)
    assert len(kept) > ROOM
    assert marker == f"[truncated {len(text) - len(kept)} characters]"
    assert second == "next"
    assert bench.counters.truncated == 1


def test_a_payload_above_what_a_receiver_inflates_is_cut() -> None:
    """However well it compresses, no payload is longer than a receiver agrees to inflate."""
    bench = Bench()
    bench.splitter.append([snapshot("x" * (2 * MAX_PAYLOAD))])
    group = bench.splitter.next_group()
    assert group is not None
    assert group.raw_size <= MAX_PAYLOAD
    assert bench.counters.truncated == 1


def test_without_fragments_a_record_is_cut_to_one_datagram() -> None:
    """The JSON encoding has no fragments: what does not fit is cut."""
    bench = Bench(max_fragments=1)
    bench.splitter.append([snapshot(noise(Random(5), 3 * ROOM))])
    group = bench.splitter.next_group()
    assert group is not None
    assert len(group.bodies) == 1
    assert bench.counters.truncated == 1


def test_one_bad_record_is_dropped_alone() -> None:
    """A record that cannot be encoded is counted; its neighbours are delivered."""
    bench = Bench()
    texts: list[object] = [str(number) for number in range(100)]
    bench.splitter.append([snapshot(text) for text in [*texts[:50], ..., *texts[50:]]])
    assert bench.texts() == texts
    assert bench.counters.dropped == {"encode_error": 1}


@pytest.mark.parametrize("error", [LookupError, AttributeError, MemoryError, AssertionError])
def test_a_record_whose_encoding_raises_anything_is_dropped_alone(error: type[Exception]) -> None:
    """The encoder may fail in ways that nobody thought of."""

    def failing(snapshots: Sequence[Snapshot]) -> Encoded:
        if any(each[VALUES] == "odd" for each in snapshots):
            raise error
        return encode(snapshots)

    counters = SenderCounters()
    splitter = Splitter(failing, counters, room=ROOM, max_fragments=MAX_FRAGMENTS)
    splitter.append([snapshot("odd" if number == 37 else "good") for number in range(100)])
    found: list[str] = []
    while (group := splitter.next_group()) is not None:
        found += decode(group.bodies[0])
    assert found == ["good"] * 99
    assert counters.dropped == {"encode_error": 1}


def test_a_batch_that_cannot_be_sealed_is_tried_twice() -> None:
    """A mistake of our own is seen each time; the records are then dropped, and counted."""
    bench = Bench(ROOM)
    bench.splitter.append([snapshot("a"), snapshot("b")])

    def failing(group: Group) -> None:
        raise ZeroDivisionError

    for left in (2, 0):
        with pytest.raises(ZeroDivisionError):
            bench.splitter.next_sealed(failing)
        assert len(bench.splitter) == left
    assert bench.counters.dropped == {"internal_error": 2}
    assert bench.splitter.next_sealed(failing) is None


def test_a_batch_that_fails_once_loses_nothing() -> None:
    """The second attempt has all of its records, in order, and so has a later failure's."""
    bench = Bench(ROOM)
    for name in ("first", "second"):
        bench.splitter.append([snapshot(name), snapshot("more")])
        with pytest.raises(ZeroDivisionError):
            bench.splitter.next_sealed(lambda group: 1 / 0)
        made = bench.splitter.next_sealed(lambda group: decode(group.bodies[0]))
        assert made is not None
        assert made[1] == [name, "more"]
    assert bench.counters.dropped == {}


def test_a_fault_of_the_splitter_itself_does_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a mistake in the cutting keeps records for ever."""
    bench = Bench(ROOM)
    bench.splitter.append([snapshot("a")] * 500)
    monkeypatch.setattr(bench.splitter, "_excess", lambda encoded: 1 / 0)
    for _ in range(1_000):
        if not len(bench.splitter):
            break
        with pytest.raises(ZeroDivisionError):
            bench.splitter.next_sealed(lambda group: group)
    assert bench.counters.dropped == {"internal_error": 500}


def test_a_record_without_any_room_is_dropped_as_oversize() -> None:
    """Where not even the cut record fits, it is counted and the queue goes on."""
    bench = Bench(room=3, max_fragments=1)
    bench.splitter.append([snapshot("a"), snapshot("b")])
    assert bench.bodies() == []
    assert bench.counters.dropped == {"oversize": 2}


def test_truncation_cuts_each_text_and_keeps_the_rest() -> None:
    """Message, exception, stack and extras are cut; numbers and short texts stay."""
    fields: list[object] = list(snapshot(("x" * 50, 7)))
    fields[TEMPLATE] = "%s and %d"
    fields[EXC_TEXT] = "é" * 29 + "!"
    fields[EXTRAS] = {"n": 1, "s": "y" * 30, "list": list(range(30)), "short": [1]}
    cut = truncate(tuple(fields), 20)
    assert render(cut) == "x" * 20 + "… [truncated 36 characters]"
    assert cut[EXC_TEXT] == "ééééé\n… [truncated 20 characters] …\néééé!"
    assert cut[NAME] == "name"
    assert cut[EXTRAS] == {
        "n": 1,
        "s": "y" * 20 + "… [truncated 10 characters]",
        "list": "[0, 1, 2, 3, 4, 5, 6… [truncated 90 characters]",
        "short": [1],
    }


def test_truncation_gives_extras_up_where_there_is_no_room_for_them() -> None:
    """With fewer characters than extras, not even their names fit."""
    fields: list[object] = list(snapshot("text"))
    fields[EXTRAS] = {"a": 1, "b": 2}
    assert truncate(tuple(fields), 1)[EXTRAS] is None


def test_what_is_dropped_is_counted_for_the_handler_and_for_the_stream() -> None:
    """No more than there are, under the cause that is given."""
    bench = Bench()
    bench.splitter.append([snapshot("x")] * 3)
    assert bench.splitter.drop_oldest(1, "buffer_full") == 1
    assert bench.splitter.drop_oldest(10, "closed") == 2
    assert bench.counters.dropped == {"buffer_full": 1, "closed": 2}
    assert bench.splitter.dropped == 3
    assert bench.splitter.next_group() is None


def test_what_is_put_back_comes_out_first() -> None:
    """Its texts that were cut are not counted twice."""
    bench = Bench()
    bench.splitter.append([snapshot("first"), snapshot("second")])
    group = bench.splitter.next_group()
    assert group is not None
    bench.splitter.append([snapshot("third")])
    bench.splitter.put_back([group])
    again = bench.splitter.next_group()
    assert again is not None
    assert again.snapshots[: len(group.snapshots)] == group.snapshots


def test_a_datagram_that_is_not_full_waits_for_what_is_to_come() -> None:
    """And says how many records would fill it; a full one wants none."""
    splitter = Bench().splitter
    assert splitter.appetite == 2 * splitter.full_batch
    splitter.append([snapshot("x")])
    assert splitter.is_ready
    splitter.has_more_to_come = True
    assert not splitter.is_ready
    splitter.append([snapshot("x")] * splitter.full_batch)
    assert splitter.is_ready
    assert splitter.appetite == 0


def test_records_that_come_after_a_drop_follow_the_rest() -> None:
    """The room of the dropped ones is used."""
    bench = Bench()
    bench.splitter.append([snapshot("a"), snapshot("b")])
    bench.splitter.drop_oldest(1, "buffer_full")
    bench.splitter.append([snapshot("c")])
    assert len(bench.splitter) == 2
    group = bench.splitter.next_group()
    assert group is not None
    assert group.snapshots[0][VALUES] == "b"
