"""The spool does what a plain dictionary would, whatever is called in which order."""

from __future__ import annotations

import os
import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchudp_handler.core.send.spool_limits import SpoolLimits
from batchudp_handler.spool import Spool, SpoolDirectory
from tests.spool.support import (
    FRAME_SIZE,
    STREAM,
    Clock,
    seal,
    segment_paths,
)


class SpoolMachine(RuleBasedStateMachine):
    """Any order of storing, releasing, dying and adopting, held against a list of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.mkdtemp()
        self.clock = Clock()
        self.model: list[int] = []
        self.next_seq = 0
        self.torn = 0
        self._restart()

    def _restart(self) -> None:
        self.home = SpoolDirectory(
            self.root, limits=SpoolLimits(max_bytes=12 * FRAME_SIZE), clock=self.clock
        )
        self.spool: Spool | None = None

    @rule(skip=st.integers(0, 3), size=st.integers(0, 900), n_rec=st.integers(1, 9))
    def store(self, skip: int, size: int, n_rec: int) -> None:
        if self.spool is None:
            self.spool = self.home.open(STREAM) if not self.model else self._adopt()
        self.next_seq += skip
        if self.spool.append(seal(self.next_seq, size=size, n_rec=n_rec)):
            self.model.append(self.next_seq)
        self.next_seq += 1
        self._note_lost()

    def _adopt(self) -> Spool:
        [spool] = self.home.adopt()
        return spool

    def _note_lost(self) -> None:
        assert self.spool is not None
        for seq, cause in self.spool.take_lost():
            assert cause == "spool_full"
            self.model.remove(seq)

    @precondition(lambda self: self.spool is not None)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        assert self.spool is not None
        floor = data.draw(st.integers(0, self.next_seq))
        self.spool.release(floor)
        self.model = [seq for seq in self.model if seq >= floor]

    @precondition(lambda self: self.spool is not None)
    @rule(dies=st.booleans(), torn=st.binary(max_size=60))
    def restart(self, dies: bool, torn: bytes) -> None:
        if dies:
            self.home.abandon()
        else:
            self.home.close()
        if dies and self.model:
            with open(segment_paths(self.home)[-1], "ab") as file:
                file.write(torn)
            self.torn += len(torn)
        self._restart()
        found = self.home.adopt()
        if not found:
            assert not self.model
            return
        self.spool = found[0]
        # after death the settled part of a segment comes back, never the reverse
        numbers = [seq for seq, _ in self.spool.load()]
        assert set(numbers) >= set(self.model)
        self.model = numbers

    @invariant()
    def same_as_the_model(self) -> None:
        if self.spool is None:
            return
        assert [seq for seq, _ in self.spool.load()] == self.model
        assert len(self.spool) == len(self.model)
        on_disk = sum(map(os.path.getsize, segment_paths(self.home))) if self.model else 0
        assert self.spool.size <= self.home.limits.max_bytes
        assert 0 <= on_disk - self.spool.size <= self.torn

    def teardown(self) -> None:
        self.home.abandon()
        shutil.rmtree(self.root)


SpoolMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase
