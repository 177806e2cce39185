"""The fate of datagrams on a bad network, decided without a socket or a clock.

A `FaultyLink` is one direction of a path. Datagrams and the time go in; datagrams and the next
deadline come out. The same object serves the proxy (real sockets, real time) and a simulator
(virtual time), so one scenario file describes the same network to both.

Chance is drawn the same number of times for each datagram, whatever faults are switched on. So
the n-th datagram of a direction meets the same fate for the same seed, also when another rate is
changed, and a failing run can be narrowed down by switching faults off one by one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

Route = TypeVar("Route")
"""Whatever the caller needs to forward a datagram: an address, a socket, nothing."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one direction; the default has none.

    Rates are probabilities per datagram, times are seconds.
    """

    loss: float = 0.0
    burst_start: float = 0.0
    """Gilbert-Elliott: probability that a good stretch turns bad at a datagram."""
    burst_end: float = 1.0
    """Probability that a bad stretch ends; 1 / burst_end is its mean length in datagrams."""
    burst_loss: float = 1.0
    """Loss while the stretch is bad."""
    duplicate: float = 0.0
    copies: int = 2
    """How often a duplicated datagram arrives in all."""
    reorder: float = 0.0
    """Share of datagrams that are held back, so that later ones overtake them."""
    reorder_delay: float = 0.01
    """The longest such hold; each one is drawn evenly from 0 to this."""
    delay: float = 0.0
    jitter: float = 0.0
    """Added to the delay, drawn evenly from 0 to this for each copy; so it also reorders."""
    flip: float = 0.0
    """Share of datagrams in which one bit is flipped."""
    truncate: float = 0.0
    """Share of datagrams that are cut short."""
    blackhole: bool = False
    """Nothing passes."""
    largest: int | None = None
    """Bytes: longer datagrams vanish, without a word to anybody; None: all lengths pass."""
    rate: float | None = None
    """Bytes per second that the link carries; None: unlimited."""
    queue: int = 65_536
    """Bytes that may wait for a rate-limited link; what comes on top is dropped."""

    def __post_init__(self) -> None:
        for name in _RATES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        for name in _TIMES:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)!r}")
        if self.largest is not None and self.largest < 0:
            raise ValueError(f"largest must be 0 or more, or None, not {self.largest!r}")
        if self.copies < 1:
            raise ValueError(f"copies must be 1 or more, not {self.copies!r}")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"rate must be more than 0, or None, not {self.rate!r}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Faults:
        """Make faults from plain values, as a file holds them.

        Raises:
            ValueError: an unknown name, or a value of the wrong kind or out of range.
        """
        unknown = sorted(set(values) - set(_KINDS))
        if unknown:
            raise ValueError(f"unknown fault {unknown[0]!r}; known: {', '.join(_KINDS)}")
        kinds = {name: _as_kind(name, value) for name, value in values.items()}
        return replace(cls(), **kinds)


_RATES = (
    "loss", "burst_start", "burst_end", "burst_loss", "duplicate", "reorder", "flip", "truncate",
)  # fmt: skip
_TIMES = ("reorder_delay", "delay", "jitter", "queue")
_KINDS = {f.name: f.type for f in fields(Faults)}


def _as_kind(name: str, value: object) -> Any:
    """Return `value` as the type of the field `name`; text is read, nothing else is bent."""
    kind = str(_KINDS[name])
    if value is None and kind.endswith("None"):
        return None
    try:
        if kind == "bool":
            return _truth(value)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        return int(value) if kind.startswith("int") else float(value)
    except ValueError:
        raise ValueError(f"{name} must be of type {kind.split()[0]}, not {value!r}") from None


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "yes", "on", "1"):
        return True
    if value in ("false", "no", "off", "0"):
        return False
    raise ValueError


@dataclass(slots=True)
class LinkCounters:
    """The counters of a link, in datagrams.

    received + duplicated = forwarded + lost + burst_lost + blackholed + too_long + queue_full +
    waiting
    """

    received: int = 0
    forwarded: int = 0
    lost: int = 0
    burst_lost: int = 0
    blackholed: int = 0
    too_long: int = 0
    queue_full: int = 0
    duplicated: int = 0
    """Extra copies made."""
    reordered: int = 0
    """Held back; whether another one overtook depends on the traffic."""
    flipped: int = 0
    truncated: int = 0
    waiting: int = 0
    bytes_received: int = 0
    bytes_forwarded: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class _Chance:
    """The draws for one datagram, always all of them."""

    loss: float
    turn: float
    burst: float
    duplicate: float
    reorder: float
    hold: float
    flip: float
    flip_at: float
    truncate: float
    truncate_at: float


@dataclass(order=True, slots=True)
class _Waiting(Generic[Route]):
    due: float
    order: int
    data: bytes = field(compare=False)
    route: Route = field(compare=False)


class FaultyLink(Generic[Route]):
    """One direction of a path: datagrams and the time in, datagrams and the next deadline out."""

    def __init__(self, faults: Faults, *, random: Random) -> None:
        self.faults = faults
        self.counters = LinkCounters()
        self._random = random
        self._spread = type(random)(random.random())
        self._in_burst = False
        self._busy_until = float("-inf")
        self._waiting: list[_Waiting[Route]] = []
        self._order = 0

    def receive_datagram(self, data: bytes, route: Route, now: float) -> None:
        """Take a datagram into the link, and decide at once what becomes of it."""
        self.counters.received += 1
        self.counters.bytes_received += len(data)
        chance = _Chance(*(self._random.random() for _ in range(10)))
        if self._is_lost(chance, len(data)):
            return
        data = self._damage(data, chance)
        for late in self._copies(chance):
            self._enqueue(data, route, now, late)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Route]]:
        """Return the datagrams that leave the link by `now`, in the order of leaving."""
        leaving = []
        while self._waiting and self._waiting[0].due <= now:
            waiting = heapq.heappop(self._waiting)
            leaving.append((waiting.data, waiting.route))
        self.counters.forwarded += len(leaving)
        self.counters.bytes_forwarded += sum(len(data) for data, _ in leaving)
        self.counters.waiting = len(self._waiting)
        return leaving

    def next_timeout(self) -> float | None:
        """Return when the next datagram leaves; None: none is on its way."""
        return self._waiting[0].due if self._waiting else None

    def _is_lost(self, chance: _Chance, size: int) -> bool:
        faults, counters = self.faults, self.counters
        self._in_burst = (
            chance.turn >= faults.burst_end if self._in_burst else chance.turn < faults.burst_start
        )
        if faults.blackhole:
            counters.blackholed += 1
        elif faults.largest is not None and size > faults.largest:
            counters.too_long += 1
        elif self._in_burst and chance.burst < faults.burst_loss:
            counters.burst_lost += 1
        elif chance.loss < faults.loss:
            counters.lost += 1
        else:
            return False
        return True

    def _damage(self, data: bytes, chance: _Chance) -> bytes:
        if data and chance.flip < self.faults.flip:
            self.counters.flipped += 1
            data = flip_bit(data, int(chance.flip_at * 8 * len(data)))
        if data and chance.truncate < self.faults.truncate:
            self.counters.truncated += 1
            data = data[: int(chance.truncate_at * len(data))]
        return data

    def _copies(self, chance: _Chance) -> Iterable[float]:
        """Yield how late each copy of a datagram comes, beyond the link's delay."""
        held = 0.0
        if chance.reorder < self.faults.reorder:
            self.counters.reordered += 1
            held = chance.hold * self.faults.reorder_delay
        yield held + self._jitter()
        if chance.duplicate < self.faults.duplicate:
            for _ in range(self.faults.copies - 1):
                self.counters.duplicated += 1
                yield held + self._jitter()

    def _jitter(self) -> float:
        return self._spread.random() * self.faults.jitter if self.faults.jitter else 0.0

    def _enqueue(self, data: bytes, route: Route, now: float, late: float) -> None:
        sent = self._sent_at(len(data), now)
        if sent is None:
            self.counters.queue_full += 1
            return
        self._order += 1
        due = sent + self.faults.delay + late
        heapq.heappush(self._waiting, _Waiting(due, self._order, data, route))
        self.counters.waiting = len(self._waiting)

    def _sent_at(self, size: int, now: float) -> float | None:
        """Return when a rate-limited link has sent `size` bytes; None: its queue is full."""
        rate = self.faults.rate
        if rate is None:
            return now
        start = max(now, self._busy_until)
        if (start - now) * rate + size > self.faults.queue:
            return None
        self._busy_until = start + size / rate
        return self._busy_until


def flip_bit(data: bytes, bit: int) -> bytes:
    """Return `data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
