"""A script of phases that says how a bad network changes, from a file or from code.

A scenario names two directions: `to_receiver` (records) and `to_sender` (acknowledgements). Its
phases follow one another; each replaces the faults of both directions from its start on. Times
count from the first datagram or tick that the path sees.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Generic

from batchudp_handler.testing.faultproxy.link import Faults, FaultyLink, Route

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


NO_FAULTS = Faults()


@dataclass(frozen=True, slots=True)
class Phase:
    """What both directions do from `start` (seconds from the beginning) on."""

    start: float = 0.0
    to_receiver: Faults = NO_FAULTS
    to_sender: Faults = NO_FAULTS
    rebind_interval: float | None = None
    """Seconds between changes of the source port that the receiver sees, as a NAT makes them."""

    def __post_init__(self) -> None:
        if self.rebind_interval is not None and self.rebind_interval <= 0:
            raise ValueError(f"rebind_interval must be more than 0, not {self.rebind_interval!r}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A seed and the phases that follow one another."""

    phases: tuple[Phase, ...] = (Phase(),)
    seed: int = 0

    def __post_init__(self) -> None:
        starts = [phase.start for phase in self.phases]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("phases start at 0 and follow one another")

    @classmethod
    def steady(
        cls,
        to_receiver: Faults = NO_FAULTS,
        to_sender: Faults = NO_FAULTS,
        *,
        seed: int = 0,
        rebind_interval: float | None = None,
    ) -> Scenario:
        """Make a scenario of one phase that lasts."""
        return cls((Phase(0.0, to_receiver, to_sender, rebind_interval),), seed)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Scenario:
        """Make a scenario from plain values, as `load` reads them.

        Raises:
            ValueError: an unknown name or a bad value.
        """
        _only(values, "a scenario", "seed", "phases")
        seed = values.get("seed", 0)
        phases = values.get("phases", [{}])
        if not isinstance(seed, int) or not isinstance(phases, (list, tuple)):
            raise ValueError("seed must be an int and phases a list")
        return cls(tuple(_phase(phase) for phase in phases), seed)

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """Read the scenario in a TOML or JSON file.

        Raises:
            ValueError: the file is neither, or holds an unknown name or a bad value.
        """
        text = path.read_text(encoding="utf-8")
        return cls.from_mapping(
            json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        )

    def phase_at(self, elapsed: float) -> Phase:
        """Return the phase in force `elapsed` seconds after the beginning."""
        return next(p for p in reversed(self.phases) if p.start <= max(elapsed, 0.0))

    def next_start(self, elapsed: float) -> float | None:
        """Return when the next phase begins; None: this one lasts."""
        return next((p.start for p in self.phases if p.start > elapsed), None)


def _phase(values: object) -> Phase:
    values = _table(values, "a phase")
    _only(values, "a phase", "start", "both", "to_receiver", "to_sender", "rebind_interval")
    both, to_receiver, to_sender = (
        _table(values.get(name, {}), name) for name in ("both", "to_receiver", "to_sender")
    )
    return Phase(
        _seconds(values.get("start", 0.0), "start"),
        Faults.from_mapping({**both, **to_receiver}),
        Faults.from_mapping({**both, **to_sender}),
        None
        if values.get("rebind_interval") is None
        else _seconds(values["rebind_interval"], "rebind_interval"),
    )


def _table(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a table, not {value!r}")
    return value


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number of seconds, not {value!r}")
    return float(value)


def _only(values: Mapping[str, object], what: str, *known: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"unknown name {unknown[0]!r} in {what}; known: {', '.join(known)}")


class FaultyPath(Generic[Route]):
    """Both directions of a path, driven through a scenario by the time that it is told."""

    def __init__(self, scenario: Scenario, *, now: float) -> None:
        self._begin = now
        self._scenario = scenario
        first = scenario.phases[0]
        # separate generators: traffic in one direction does not change the fate of the other
        self.to_receiver: FaultyLink[Route] = FaultyLink(
            first.to_receiver, random=Random(f"{scenario.seed}/to_receiver")
        )
        self.to_sender: FaultyLink[Route] = FaultyLink(
            first.to_sender, random=Random(f"{scenario.seed}/to_sender")
        )
        self.rebinds = 0
        """How often the source port that the receiver sees should have changed by now."""
        self._next_rebind = float("inf")
        self._enter(first, now)

    def change(self, phase: Phase, now: float) -> None:
        """Replace the script by one phase that lasts, from now on."""
        lasting = replace(phase, start=0.0)
        self._scenario = Scenario((lasting,), self._scenario.seed)
        self._begin = now
        self._enter(lasting, now)

    def handle_timeout(self, now: float) -> None:
        """Enter the phase that is due, and count the rebinds that are due."""
        phase = self._scenario.phase_at(now - self._begin)
        if phase is not self._phase:
            self._enter(phase, now)
        while self._next_rebind <= now:
            self.rebinds += 1
            self._next_rebind += phase.rebind_interval or float("inf")

    def next_timeout(self) -> float | None:
        """Return the next deadline of either link, of the script, or of a rebind."""
        start = self._scenario.next_start(self._phase.start)
        deadlines = [self.to_receiver.next_timeout(), self.to_sender.next_timeout()]
        deadlines.append(None if start is None else self._begin + start)
        deadlines.append(None if self._next_rebind == float("inf") else self._next_rebind)
        return min((d for d in deadlines if d is not None), default=None)

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what both directions did so far, by direction."""
        return {
            "to_receiver": self.to_receiver.counters.as_dict(),
            "to_sender": self.to_sender.counters.as_dict(),
        }

    def _enter(self, phase: Phase, now: float) -> None:
        self._phase = phase
        self.to_receiver.faults = phase.to_receiver
        self.to_sender.faults = phase.to_sender
        interval = phase.rebind_interval
        self._next_rebind = float("inf") if interval is None else now + interval
