"""The records of a stream: those in datagrams that came, and those in the gaps between them.

The ledger knows the stretch from the first to the next record of the stream, and the gaps in it. A
gap in sequence numbers says how many datagrams are missing, the record numbers on both its sides
say how many records were in them. Everything that is not in a gap was claimed by a datagram, so
`next_rec - first_rec = claimed + missing + lost + abandoned` holds by construction.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.wire.constants import MAX_RECORDS, MODULUS

__all__ = ["LOSS_DELAY", "Gap", "RecordLedger"]

LOSS_DELAY = 2.0
"""Seconds after which what is missing in a one-way stream counts as lost."""


class Gap(NamedTuple):
    """Datagrams `start` to `end - 1` that nothing has claimed, and their records."""

    start: int
    end: int
    rec: int
    """The first record, on the ledger's endless scale. In a lead, one past the last."""
    records: int
    since: float
    is_lost: bool = False
    is_lead: bool = False
    """Before everything known: how many records it has will show when a datagram claims it."""


class RecordLedger:
    """The records of one stream: claimed by datagrams, or in a gap.

    All numbers are on an endless scale. A record number from the wire, modulo 2^32, means the
    nearest number on that scale to `next_rec`; a window of 4,096 datagrams of 65,535 records
    spans a sixteenth of the circle.

    `missing` and `lost` follow every change; the gaps are ordered both by number and by age, so
    that the lost ones come first.
    """

    __slots__ = ("first_rec", "gaps", "lost", "missing", "next_rec", "next_seq")

    def __init__(self, next_seq: int, next_rec: int, *, lead: int, now: float) -> None:
        """Begin before datagram `next_seq`; up to `lead` datagrams may still come before it."""
        self.next_seq = next_seq
        self.first_rec = next_rec
        self.next_rec = next_rec
        self.missing = 0
        self.lost = 0
        self.gaps: list[Gap] = []
        if lead:
            start = next_seq - lead
            self.gaps.append(Gap(start, next_seq, next_rec, 0, now, is_lead=True))

    def claim(self, start: int, end: int, rec: int, n_rec: int, now: float) -> int:
        """Claim `n_rec` records from `rec` on for datagrams `start` to `end - 1`, which have come.

        Returns:
            How many of these records had been declared lost.

        Raises:
            DecodeError: the numbers contradict what is known; nothing has changed then.
        """
        if start == self.next_seq:
            if rec != self.next_rec % MODULUS:
                raise DecodeError(Reason.MALFORMED, "records do not follow")
        elif start > self.next_seq:
            self.extend(start, rec, now)
        else:
            return self._fill(start, end, self._absolute(rec), n_rec)
        self.next_seq = end
        self.next_rec += n_rec
        return 0

    def adds_gap(self, start: int, end: int) -> bool:
        """Return whether claiming these datagrams would leave one gap more than before."""
        if start >= self.next_seq:
            return start > self.next_seq
        first = bisect_right(self.gaps, start, key=_gap_start) - 1
        return first >= 0 and self.gaps[first].start < start and end < self.gaps[first].end

    def extend(self, next_seq: int, next_rec: int, now: float) -> bool:
        """Learn that datagram `next_seq` begins with record `next_rec`: all before it exist.

        Returns:
            Whether this was news.
        """
        if next_seq <= self.next_seq:
            return False
        records = (next_rec - self.next_rec) % MODULUS
        if records >= MODULUS // 2 or records > MAX_RECORDS * (next_seq - self.next_seq):
            raise DecodeError(Reason.MALFORMED, "more records than the datagrams can hold")
        gap = Gap(self.next_seq, next_seq, self.next_rec, records, now)
        if self.gaps:
            last = self.gaps[-1]
            if last.end == gap.start and not last.is_lost and not last.is_lead:
                # one gap from two pieces of news; it is as young as the later piece
                gap = Gap(last.start, gap.end, last.rec, last.records + records, now)
                self.gaps.pop()
        self.gaps.append(gap)
        self.missing += records
        self.next_seq = next_seq
        self.next_rec += records
        return True

    def _absolute(self, rec: int) -> int:
        """Return the number on the endless scale."""
        half = MODULUS // 2
        return self.next_rec + (rec - self.next_rec + half) % MODULUS - half

    def _fill(self, start: int, end: int, rec: int, n_rec: int) -> int:
        """Claim what lies in one gap, in adjacent ones, or across the known end."""
        first, last = self._covering(start, end)
        old = self.gaps[first : last + 1]
        pieces = [_before(old[0], start, rec)]
        if end <= self.next_seq:
            pieces.append(_after(old[-1], end, rec + n_rec))
        elif rec + n_rec < self.next_rec:
            raise DecodeError(Reason.MALFORMED, "holds records of later datagrams")
        else:
            self.next_seq, self.next_rec = end, rec + n_rec
        if old[0].is_lead:
            self.first_rec = rec
        return self._replace(first, last, [piece for piece in pieces if piece])

    def _covering(self, start: int, end: int) -> tuple[int, int]:
        """Return the first and the last of the adjacent gaps that hold these datagrams."""
        first = bisect_right(self.gaps, start, key=_gap_start) - 1
        if first < 0 or self.gaps[first].end <= start:
            raise DecodeError(Reason.MALFORMED, "claimed by another datagram")
        last = first
        while self.gaps[last].end < min(end, self.next_seq):
            last += 1
            if last == len(self.gaps) or self.gaps[last].start != self.gaps[last - 1].end:
                raise DecodeError(Reason.MALFORMED, "claimed in part by another datagram")
        return first, last

    def _replace(self, first: int, last: int, pieces: list[Gap]) -> int:
        """Put pieces in the place of gaps; return how many lost records were found."""
        lost = self.lost
        for gap in self.gaps[first : last + 1]:
            self._count(gap, -1)
        for gap in pieces:
            self._count(gap, 1)
        self.gaps[first : last + 1] = pieces
        return lost - self.lost

    def _count(self, gap: Gap, sign: int) -> None:
        if gap.is_lost:
            self.lost += sign * gap.records
        elif not gap.is_lead:
            self.missing += sign * gap.records

    # giving up

    def declare(self, now: float) -> int:
        """Count as lost what has been missing for long enough; return how many records."""
        before = self.lost
        kept: list[Gap] = []
        for gap in self.gaps:
            if not gap.is_lost and not gap.is_lead and gap.since + LOSS_DELAY <= now:
                self.missing -= gap.records
                self.lost += gap.records
                _append_lost(kept, gap)
            else:
                kept.append(gap)
        self.gaps = kept
        return self.lost - before

    def declare_time(self) -> float | None:
        """Return when `declare` has something to do next."""
        first = bisect_left(self.gaps, True, key=_may_come)
        for gap in self.gaps[first : first + 2]:
            if not gap.is_lead:
                return gap.since + LOSS_DELAY
        return None

    def lose_below(self, seq: int) -> int:
        """Forget gaps below `seq` for good; return how many more records are lost by that.

        What had been declared lost stays counted, what was still missing joins it.
        """
        newly = self._pop_below(seq)
        self.missing -= newly
        self.lost += newly
        return newly

    def abandon_below(self, seq: int) -> int:
        """Forget gaps below `seq`; return the records that were missing in them.

        A gap that reaches above `seq` stays whole until it is known how its records are divided.
        """
        abandoned = self._pop_below(seq)
        self.missing -= abandoned
        return abandoned

    def _pop_below(self, seq: int) -> int:
        count = 0
        for gap in self.gaps:
            if gap.end > seq:
                break
            count += 1
        missing = sum(gap.records for gap in self.gaps[:count] if not gap.is_lost)
        del self.gaps[:count]
        return missing

    @property
    def has_lead(self) -> bool:
        """Whether datagrams before the first known one may still come."""
        return bool(self.gaps) and self.gaps[0].is_lead

    def drop_lead(self) -> Gap | None:
        """Close the beginning: nothing before the first known datagram is waited for."""
        if self.has_lead:
            return self.gaps.pop(0)
        return None


def _append_lost(gaps: list[Gap], gap: Gap) -> None:
    """Append a gap as a lost one, joined with a lost one right before it."""
    if gaps and gaps[-1].is_lost and gaps[-1].end == gap.start:
        whole = gaps.pop()
        gap = whole._replace(end=gap.end, records=whole.records + gap.records)
    gaps.append(gap._replace(is_lost=True))


def _may_come(gap: Gap) -> bool:
    return not gap.is_lost


def _gap_start(gap: Gap) -> int:
    return gap.start


def _before(gap: Gap, start: int, rec: int) -> Gap | None:
    """Return the part of a gap below a datagram that claims its rest."""
    room = start - gap.start
    if gap.is_lead:
        return gap._replace(end=start, rec=rec) if room else None
    records = rec - gap.rec
    if not 0 <= records <= min(gap.records, MAX_RECORDS * room):
        raise DecodeError(Reason.MALFORMED, "records contradict an earlier datagram")
    return gap._replace(end=start, records=records) if room else None


def _after(gap: Gap, end: int, rec: int) -> Gap | None:
    """Return the part of a gap above a datagram that claims its beginning."""
    room = gap.end - end
    rec_end = gap.rec if gap.is_lead else gap.rec + gap.records
    records = rec_end - rec
    limit = MAX_RECORDS * room
    if not 0 <= records <= (limit if gap.is_lead else min(gap.records, limit)):
        raise DecodeError(Reason.MALFORMED, "records contradict a later datagram")
    return Gap(end, gap.end, rec, records, gap.since, gap.is_lost) if room else None
