"""A batch as the smallest JSON that says it.

Everything is said once. Records of the same call site share a row of `sites`, those of the same
thread a row of `origins`; what is left of a record is a site's number, a time difference in
microseconds and its arguments. Arguments lie in columns, one per place in the template, so that
like follows like (deflate gains a fifth from that alone); a column of strings that repeat holds
numbers into one table of strings instead. Exceptions, stacks and extras are sparse. Times are
whole microseconds; where the milliseconds or the second that a formatter prints cannot be derived
from these, they are said too. `docs/protocol/payloads.md` is the specification.

The encoder works on columns with C-speed operations and checks nothing that `json` or the codec
of UTF-8 will notice anyway: when they do (NaN, a lone surrogate), or anything else goes wrong, the
batch is encoded once more from snapshots that were gone over one by one.
"""

from __future__ import annotations

from operator import itemgetter, sub
from typing import TYPE_CHECKING, Any

from batchudp_handler.core.payload import tagged
from batchudp_handler.core.payload.json_text import dumps, encode_with_escapes, has_long_number
from batchudp_handler.core.records.kept import Typed
from batchudp_handler.core.records.paths import filename_and_module
from batchudp_handler.core.records.portable import (
    LAST_SECOND,
    MICRO,
    is_portable_place,
    is_shippable_template,
    portable_header,
    portable_snapshot,
)
from batchudp_handler.core.records.snapshot import (
    CREATED,
    ERROR,
    NARGS,
    ORIGIN,
    SITE,
    TEMPLATE,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batchudp_handler.core.records.batch import BatchHeader, Snapshot

__all__ = ["encode_compact"]

MAX_TABLE_STRING = 256
"""A receiver bounds what a string in the table can multiply to; long ones are left to deflate."""
_EXACT_SPAN = 100_000 * MICRO
"""Within so many microseconds of the first record, `(created - base) * 1e6` is exact: both times
are multiples of 2**-22 s, and the product has at most 53 bits."""

_place = slice(SITE.start, ORIGIN.stop)
_get_place = itemgetter(_place)
_get_rest = itemgetter(*range(CREATED, ERROR + 1))


def encode_compact(snapshots: Sequence[Snapshot], header: BatchHeader) -> bytes:
    """Return the payload of a batch: one JSON object in UTF-8."""
    try:
        payload = _text(snapshots, header).encode()
        if not has_long_number(payload):
            return payload
    except Exception:  # noqa: BLE001  # see the head of this file
        pass
    portable = [portable_snapshot(snapshot) for snapshot in snapshots]
    return encode_with_escapes(_text(portable, portable_header(header)))


def _text(snapshots: Sequence[Snapshot], header: BatchHeader) -> str:
    members = [f'"host":{dumps(header.hostname)}']
    if header.static_fields:
        members.append(f'"static":{dumps(dict(header.static_fields))}')
    if snapshots:
        members += [f'"{name}":{text}' for name, text in _Columns(snapshots).members()]
    return f"{{{','.join(members)}}}"


class _Places(dict["tuple[Any, ...]", int]):
    """Numbers the pairs of site and origin in the order in which they first appear."""

    def __init__(self) -> None:
        self.sites: dict[tuple[Any, ...], int] = {}
        self.origins: dict[tuple[Any, ...], int] = {}
        self.site_of: list[int] = []
        self.origin_of: list[int] = []
        self.rendered: set[int] = set()
        """Sites whose template does not travel."""

    def __missing__(self, key: tuple[Any, ...]) -> int:
        if not is_portable_place(key):
            raise TypeError
        site, origin = key[SITE], key[ORIGIN]
        template = site[TEMPLATE]
        ships = template is None or is_shippable_template(template, site[NARGS])
        if not ships:
            site = (*site[:TEMPLATE], None, 0)
        number = self.sites.setdefault(site, len(self.sites))
        if not ships:
            self.rendered.add(len(self.site_of))
        self.site_of.append(number)
        self.origin_of.append(self.origins.setdefault(origin, len(self.origins)))
        self[key] = len(self)
        return len(self) - 1


class _Strings(dict[str, int]):
    """Numbers strings in the order in which they first appear."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


class _Columns:
    """A batch turned from rows to columns."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._places = places = _Places()
        self._place = place = [places[key] for key in map(_get_place, snapshots)]
        created, msecs, relative, values, *others = zip(*map(_get_rest, snapshots), strict=True)
        if places.rendered and not places.rendered.isdisjoint(place):
            values = tuple(
                [
                    render(snapshot) if number in places.rendered else value
                    for number, value, snapshot in zip(place, values, snapshots, strict=True)
                ]
            )
        self._base = int(created[0])
        self._micros = _micros(created, self._base)
        """Since `_base`, a whole second."""
        self._created, self._msecs, self._relative = created, msecs, relative
        self._values = values
        self._extras, self._exc_text, self._stack_info, self._shapes, self._errors = others

    def members(self) -> Iterator[tuple[str, str]]:
        """Yield the members of the payload that depend on the records, with their JSON text."""
        yield from self._times()
        yield from self._sites()
        strings = _Strings()
        values = list(self._value_columns(strings))
        sparse = {
            "exc": _sparse(self._exc_text, strings),
            "stack": _sparse(self._stack_info, strings),
            **_extra_columns(self._extras, strings),
            "shape": _tagged(self._shapes),
            "error": _sparse(self._errors, strings),
        }
        if strings:
            yield "strings", dumps(list(strings))
        yield "values", f"[{','.join(values)}]"
        yield from ((name, text) for name, text in sparse.items() if text)

    def _sites(self) -> Iterator[tuple[str, str]]:
        places = self._places
        yield "sites", dumps([_site_row(site) for site in places.sites])
        yield "origins", dumps([_origin_row(origin) for origin in places.origins])
        yield "site", _integers(self._site_column())
        if len(places.origins) > 1:
            yield "origin", _integers([places.origin_of[number] for number in self._place])

    def _site_column(self) -> list[int]:
        site_of = self._places.site_of
        if site_of == list(range(len(site_of))):
            return self._place  # one origin: a place is a site
        return [site_of[number] for number in self._place]

    def _times(self) -> Iterator[tuple[str, str]]:
        micros, base = self._micros, self._base
        first = micros[0]
        start = first - round(self._relative[0] * 1000)
        if abs(start) > 1 << 61:
            raise OverflowError
        yield "time", str(base * MICRO + first)
        yield "start", str(base * MICRO + start)
        yield "delta", _integers(list(map(sub, micros[1:], micros)))
        derived = [us // 1000 % 1000 for us in micros]
        if derived != list(self._msecs):
            odd = [i for i, msecs in enumerate(self._msecs) if msecs != derived[i]]
            yield "msecs", _numbers(self._msecs, odd, 0, 1000)
            odd = [i for i in odd if micros[i] // MICRO + base != int(self._created[i])]
            if odd:
                yield "created", _numbers(self._created, odd, 0, LAST_SECOND)
        derived = [(us - start) // 1000 for us in micros]
        if derived != list(map(int, self._relative)):
            odd = [i for i, relative in enumerate(self._relative) if int(relative) != derived[i]]
            yield "relative", _numbers(self._relative, odd, -1e15, 1e15)

    def _value_columns(self, strings: _Strings) -> Iterator[str]:
        """For each site the columns of its arguments, or the one of its texts."""
        sites = self._places.sites
        rows: list[list[Any]] = [[] for _ in sites]
        append = [row.append for row in rows]
        for number, value in zip(self._site_column(), self._values, strict=True):
            append[number](value)
        for site, row in zip(sites, rows, strict=True):
            columns = [row] if site[TEMPLATE] is None else zip(*row, strict=True)
            yield f"[{','.join([_column(list(column), strings) for column in columns])}]"


def _micros(created: Sequence[float], base: int) -> list[int]:
    """Whole microseconds since `base`, rounded half to even as `%f` does."""
    micros = [round((moment - base) * 1e6) for moment in created]
    if max(micros) > _EXACT_SPAN or min(micros) < -_EXACT_SPAN:
        micros = [
            (int(moment) - base) * MICRO + round((moment - int(moment)) * 1e6)
            for moment in created
        ]
    if min(micros) < -base * MICRO or max(micros) > (LAST_SECOND - base) * MICRO:
        raise ValueError
    return micros


def _integers(values: Sequence[int]) -> str:
    """A JSON array of whole numbers; formatting them at once is faster than `json` is."""
    return f"[{('%d,' * len(values))[:-1] % tuple(values)}]"


def _numbers(values: Sequence[float], rows: list[int], low: float, high: float) -> str:
    """A sparse column of the numbers in `rows`."""
    chosen = [values[row] for row in rows]
    if not {float, int}.issuperset(map(type, chosen)) or min(chosen) < low or max(chosen) >= high:
        raise ValueError
    return f"[{_integers(rows)},{dumps(chosen)}]"


def _site_row(site: tuple[Any, ...]) -> list[Any]:
    name, levelno, levelname, pathname, filename, module, lineno, function, template, nargs = site
    row = [name, levelno, levelname, pathname, lineno, function, template, nargs]
    if (filename, module) != filename_and_module(pathname):
        row += [filename, module]
    return row


def _origin_row(origin: tuple[Any, ...]) -> list[Any]:
    *who, hostname, hops = origin
    return [*who, hostname, hops] if hops or hostname is not None else who


def _column(values: list[Any], strings: _Strings) -> str:
    """The values, or their places in the table of strings where enough of them repeat."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return _integers(values)
    if kinds == {str}:
        new = set(values).difference(strings)
        if len(new) * 2 <= len(values) and max(map(len, values)) <= MAX_TABLE_STRING:
            return f'{{"of":{_integers([strings[value] for value in values])}}}'
    return dumps(values)


def _sparse(values: Sequence[Any], strings: _Strings) -> str:
    """The rows that have a value, and the values; nothing when no row has one."""
    if not any(values):
        return ""
    rows = [row for row, value in enumerate(values) if value]
    return f"[{_integers(rows)},{_column([values[row] for row in rows], strings)}]"


def _tagged(values: Sequence[Any], rows: Sequence[int] | None = None) -> str:
    """Return a sparse column of those values that have a type; nothing when none has one."""
    typed = [
        (row, tagged.encode(value.value))
        for row, value in zip(range(len(values)) if rows is None else rows, values, strict=True)
        if type(value) is Typed
    ]
    if not typed:
        return ""
    return f"[{_integers([row for row, _ in typed])},{dumps([value for _, value in typed])}]"


def _extra_columns(extras: Sequence[dict[str, Any] | None], strings: _Strings) -> dict[str, str]:
    """Return a sparse column per name, and another for those of its values that have a type.

    The rows are null where every record has the extra.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, extra in enumerate(extras):
        if extra:
            groups.setdefault(tuple(extra), []).append(row)
    columns: dict[str, tuple[list[int], list[Any]]] = {}
    for names, rows in groups.items():
        values = zip(*[extras[row].values() for row in rows], strict=True)  # type: ignore[union-attr]  # a row in a group has extras
        for name, of_rows in zip(names, values, strict=True):
            column = columns.setdefault(name, ([], []))
            column[0].extend(rows)
            column[1].extend(of_rows)
    every = list(range(len(extras)))
    members: dict[str, list[str]] = {"extra": [], "typed": []}
    for name, (rows, chosen) in columns.items():
        if Typed in set(map(type, chosen)):
            members["typed"].append(f"{dumps(name)}:{_tagged(chosen, rows)}")
        plain = [value.json if type(value) is Typed else value for value in chosen]
        indexes = "null" if rows == every else _integers(rows)
        members["extra"].append(f"{dumps(name)}:[{indexes},{_column(plain, strings)}]")
    return {name: f"{{{','.join(texts)}}}" for name, texts in members.items() if texts}
