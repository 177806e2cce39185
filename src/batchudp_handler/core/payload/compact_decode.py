"""A compact payload as a batch again, whatever program wrote it.

The twin of `compact.py`. Whatever decides which value belongs to which record (the lengths of
columns, indexes, times) must be right as a whole, or the payload is refused. Whatever belongs to
one record costs, when it is wrong, that record; what belongs to one extra costs that extra.

Types are checked per column by C-speed set operations, trust in a template per site and kinds of
arguments.
"""

from __future__ import annotations

from itertools import accumulate, repeat
from typing import TYPE_CHECKING, Any, NoReturn

from batchudp_handler.core.errors import DecodeError, Reason
from batchudp_handler.core.payload.budget import (
    LARGE_FLOAT,
    PRINTED_LARGE_FLOAT,
    PRINTED_MEMBER,
    PRINTED_NUMBER,
    PRINTED_RECORD,
    Price,
    printed,
    printed_each,
    printed_value,
)
from batchudp_handler.core.payload.checks import REFUSED
from batchudp_handler.core.payload.typed_columns import Rows, TypedReader
from batchudp_handler.core.records.batch import Batch
from batchudp_handler.core.records.paths import filename_and_module
from batchudp_handler.core.records.portable import LAST_SECOND, MICRO
from batchudp_handler.core.records.template import SCALARS, fallback_text, is_trusted, padding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batchudp_handler.core.payload.checks import Checks
    from batchudp_handler.core.records.batch import Column, Content

__all__ = ["decode_compact"]

_LAST_MICRO = LAST_SECOND * MICRO
_END = object()
_NOTHING: Column = ((), ())


def decode_compact(document: dict[str, Any], checks: Checks) -> Batch:
    """Read a parsed payload.

    Raises:
        DecodeError: The payload cannot be divided into records, or costs too much.
    """
    return _Reader(document, checks).batch()


def _refuse(detail: str) -> NoReturn:
    raise DecodeError(Reason.SHAPE, detail)


class _Reader:
    """One reading of one payload."""

    def __init__(self, document: dict[str, Any], checks: Checks) -> None:
        self._document = document
        self._checks = checks
        self._limits = checks.limits
        self._budget = checks.budget
        self._malformed = 0
        self._templates_refused = 0
        self._strings: list[str] = []
        self._printed_strings: list[int] = []
        self._tried: set[tuple[str, tuple[type, ...]]] = set()
        self._rows = 0

    def batch(self) -> Batch:
        """The batch; reads the tables before the columns that refer to them."""
        self._strings = self._table()
        site = self._site_column()
        templates = [self._site(row) for row in self._sites()]
        origins = [self._origin(row) for row in self._origins()]
        if max(site) >= len(templates) or not origins:
            _refuse("site or origins")
        hostname = self._checks.name(self._document.get("host"))
        static_fields = self._checks.object(self._document.get("static"))
        origin = self._origin_column(len(origins))
        self._charge_places(templates, site, origins, origin)
        self._charge_shared(hostname, static_fields)
        contents = self._contents(site, templates)
        created, msecs, relative = self._times()
        exc_text, stack_info = self._texts("exc"), self._texts("stack")
        extras = self._extras()
        typed = TypedReader(self._checks)
        self._shape(contents, typed)
        self._type(extras, typed)
        return Batch(
            hostname=hostname,
            static_fields=static_fields,
            sites=[_SITELESS if site is None else site[:8] for site in templates],
            origins=origins,
            site=site,
            origin=origin,
            contents=contents,
            created=created,
            msecs=msecs,
            relative=relative,
            extras=extras,
            exc_text=exc_text,
            stack_info=stack_info,
            errors=typed.errors(self._rows_and_values("error")),
            malformed=contents.count(None),
            templates_refused=self._templates_refused,
            fields_refused=self._checks.fields_refused,
            truncated=self._checks.truncated,
        )

    # Tables. A format string may say %d, or {:<10}, of anything but a task name, and raise for
    # None; so a missing number is 0, and a missing name the word that would have been printed.

    def _list(self, member: str) -> list[Any]:
        value = self._document.get(member, [])
        if not isinstance(value, list):
            _refuse(member)
        return value

    def _sites(self) -> list[Any]:
        sites = self._list("sites")
        if len(sites) > self._limits.sites:
            _refuse("sites")
        self._budget.work(len(sites) * Price.SITE)
        return sites

    def _origins(self) -> list[Any]:
        origins = self._list("origins")
        if len(origins) > self._limits.records:
            _refuse("origins")
        self._budget.work(len(origins) * Price.ORIGIN)
        return origins

    def _table(self) -> list[str]:
        strings = self._list("strings")
        if strings:
            if set(map(type, strings)) != {str}:
                _refuse("strings")
            if max(map(len, strings)) > self._limits.table_characters:
                raise DecodeError(Reason.INFLATE_LIMIT, "strings")
            self._budget.work(len(strings) * Price.STRING)
            self._printed_strings = printed_each(strings)
        return strings

    def _site(self, row: object) -> tuple[Any, ...] | None:
        """name .. funcName, template, nargs; None if its records must be refused."""
        if not isinstance(row, list) or len(row) not in (8, 10):
            return None
        name, levelno, levelname, pathname, lineno, function, template, nargs = row[:8]
        check = self._checks
        if not isinstance(pathname, str) or len(pathname) > self._limits.path_characters:
            return None
        if not isinstance(function, str | None) or not isinstance(lineno, int | None):
            return None
        filename, module = row[8:] or filename_and_module(pathname)
        site = (
            check.name(name),
            check.levelno(levelno),
            check.name(levelname),
            pathname,
            check.name(filename),
            check.name(module),
            check.integer(lineno) or 0,
            check.word(function),
        )
        if None in site[:6] or not self._is_template(template, nargs):
            return None
        return (*site, template, nargs)

    def _is_template(self, template: object, nargs: object) -> bool:
        if nargs.__class__ is not int:
            return False
        if template is None:
            return nargs == 0
        if not isinstance(template, str) or len(template) > self._limits.template_characters:
            return False
        return 1 <= nargs <= self._limits.args

    def _origin(self, row: object) -> tuple[Any, ...]:
        if not isinstance(row, list) or len(row) not in (5, 7):
            _refuse("origins")
        check = self._checks
        process, process_name, thread, thread_name, task_name = row[:5]
        hostname, hops = row[5:] or (None, 0)
        hops = check.integer(hops) or 0
        return (
            check.integer(process) or 0,
            check.word(process_name),
            check.integer(thread) or 0,
            check.word(thread_name),
            check.name(task_name),
            check.name(hostname),
            min(max(hops, 0), 255),
        )

    # Columns that place the others

    def _site_column(self) -> list[int]:
        site = self._list("site")
        if len(site) > self._limits.records:
            raise DecodeError(Reason.TOO_MANY_RECORDS)
        if not site:
            _refuse("no records")
        self._rows = len(site)
        self._budget.work(self._rows * Price.RECORD)
        self._budget.output(self._rows * PRINTED_RECORD)
        return _indexes(site, self._rows)

    # What every record of a kind has in common is sent once and printed with each of them.

    def _charge_places(
        self,
        templates: list[tuple[Any, ...] | None],
        site: list[int],
        origins: list[tuple[Any, ...]],
        origin: list[int] | None,
    ) -> None:
        sites = [0 if row is None else _printed_texts(row[:8]) for row in templates]
        self._budget.output(sum(map(sites.__getitem__, site)))
        threads = list(map(_printed_texts, origins))
        if origin is None:
            self._budget.output(threads[0] * self._rows)
        else:
            self._budget.output(sum(map(threads.__getitem__, origin)))

    def _charge_shared(self, hostname: str | None, static_fields: dict[str, Any]) -> None:
        size = printed(hostname or "") + printed_value(static_fields)
        self._budget.output(size * self._rows)
        self._budget.work(len(static_fields) * self._rows * Price.FIELD)

    def _origin_column(self, origins: int) -> list[int] | None:
        if "origin" not in self._document:
            return None
        origin = _indexes(self._list("origin"), origins)
        if len(origin) != self._rows:
            _refuse("origin")
        return origin

    def _times(self) -> tuple[list[float], list[float], list[float]]:
        first, start = self._document.get("time"), self._document.get("start", 0)
        delta = self._list("delta")
        if len(delta) != self._rows - 1 or not {int}.issuperset(map(type, [first, start, *delta])):
            _refuse("times")
        micros = list(accumulate(delta, initial=first))
        if min(micros) < 0 or max(micros) > _LAST_MICRO or abs(start) > 1 << 62:
            _refuse("times")
        created = [us / MICRO for us in micros]
        msecs = [us // 1000 % 1000 + 0.0 for us in micros]
        relative = [(us - start) / 1000 for us in micros]
        self._replace("created", created, self._checks.seconds)
        self._replace("msecs", msecs, self._checks.msecs)
        self._replace("relative", relative, self._checks.relative)
        return created, msecs, relative

    def _replace(
        self, member: str, numbers: list[float], check: Callable[[object], float | None]
    ) -> None:
        """Put the numbers in that were said because they could not be derived."""
        if member not in self._document:
            return
        rows, values = self._sparse(self._document[member])
        for row, value in zip(self._all(rows), values, strict=True):
            number = check(value)
            if number is None:
                _refuse(member)
            numbers[row] = number

    # Columns of values

    def _column(self, column: object) -> list[Any]:
        """The values of a column, fetched from the table if that is where they are."""
        if isinstance(column, list):
            return column
        if not isinstance(column, dict) or not isinstance(column.get("of"), list):
            _refuse("column")
        strings, places = self._strings, _indexes(column["of"], len(self._strings))
        self._budget.output(sum(map(self._printed_strings.__getitem__, places)))
        return [strings[place] for place in places]

    def _sparse(self, pair: object) -> Column:
        if not isinstance(pair, list) or len(pair) != 2:
            _refuse("sparse column")
        rows, values = pair[0], self._column(pair[1])
        if rows is not None:
            if not isinstance(rows, list):
                _refuse("sparse column")
            rows = _indexes(rows, self._rows)
        if len(values) != (self._rows if rows is None else len(rows)):
            _refuse("sparse column")
        return rows, values

    def _all(self, rows: Sequence[int] | None) -> Sequence[int]:
        return range(self._rows) if rows is None else rows

    def _contents(
        self, site: list[int], templates: list[tuple[Any, ...] | None]
    ) -> list[Content | None]:
        columns = self._list("values")
        if len(columns) != len(templates):
            _refuse("values")
        queues = [
            repeat(None) if row is None else self._queue(row[8], row[9], column)
            for row, column in zip(templates, columns, strict=True)
        ]
        following = [queue.__next__ for queue in queues]
        try:
            contents = [following[number]() for number in site]
        except StopIteration:
            _refuse("values")
        for row, queue in zip(templates, queues, strict=True):
            if row is not None and next(queue, _END) is not _END:
                _refuse("values")
        return contents

    def _queue(
        self, template: str | None, nargs: int, columns: object
    ) -> Iterator[Content | None]:
        """The contents of one site's records, in order."""
        if not isinstance(columns, list) or len(columns) != (nargs or 1):
            _refuse("values")
        values = [self._column(column) for column in columns]
        if len(set(map(len, values))) != 1:
            _refuse("values")
        if template is None:
            texts = [self._checks.text(value) for value in values[0]]
            return iter([None if text is None else (text, ()) for text in texts])
        return self._formatted(template, [self._checks.args(column) for column in values])

    def _formatted(
        self, template: str, columns: Sequence[Sequence[Any]]
    ) -> Iterator[Content | None]:
        if columns[0]:
            self._charge_template(template, columns)
        kinds = [set(map(type, column)) for column in columns]
        if all(len(kind) == 1 for kind in kinds):
            types = tuple([kind.pop() for kind in kinds])
            if self._is_trusted(template, types):
                return zip(repeat(template), zip(*columns, strict=True), strict=False)
        return iter([self._content(template, args) for args in zip(*columns, strict=True)])

    def _content(self, template: str, args: tuple[Any, ...]) -> Content | None:
        types = tuple(map(type, args))
        if self._is_trusted(template, types):
            return template, args
        if not SCALARS.issuperset(types):
            return None
        self._budget.work(Price.FALLBACK + len(args) * Price.FALLBACK_ARG)
        self._templates_refused += 1
        return fallback_text(template, args), ()

    def _charge_template(self, template: str, columns: Sequence[Sequence[Any]]) -> None:
        size = printed(template) + (padding(template) or 0)
        for column in columns:
            floats = [value for value in column if value.__class__ is float]
            if floats:
                is_large = max(floats) >= LARGE_FLOAT or min(floats) <= -LARGE_FLOAT
                size += PRINTED_LARGE_FLOAT if is_large else PRINTED_NUMBER
        self._budget.output(size * len(columns[0]))

    def _is_trusted(self, template: str, types: tuple[type, ...]) -> bool:
        if (template, types) not in self._tried:
            self._budget.work(Price.TRIAL + len(template) * Price.TRIAL_CHARACTER)
            self._tried.add((template, types))
        return is_trusted(template, types)

    def _texts(self, member: str) -> Column:
        if member not in self._document:
            return _NOTHING
        rows, values = self._sparse(self._document[member])
        texts = [self._checks.traceback(value) for value in values]
        self._checks.fields_refused += texts.count(None)
        return rows, texts

    # What adds types to the records; payloads of old senders have none of it

    def _rows_and_values(self, member: str) -> Rows:
        if member not in self._document:
            return (), ()
        rows, values = self._sparse(self._document[member])
        return self._all(rows), values

    def _shape(self, contents: list[Content | None], typed: TypedReader) -> None:
        for row, node in zip(*self._rows_and_values("shape"), strict=True):
            contents[row] = typed.shape(contents[row], node)

    def _type(self, extras: dict[str, Column], typed: TypedReader) -> None:
        columns = self._document.get("typed", {})
        if not isinstance(columns, dict):
            _refuse("typed")
        for key, pair in columns.items():
            self._budget.work(Price.COLUMN)
            rows, values = self._sparse(pair)
            name = self._checks.extra_name(key)
            if name in extras:
                extras[name] = typed.extra(extras[name], (self._all(rows), values))

    def _extras(self) -> dict[str, Column]:
        extra = self._document.get("extra", {})
        if not isinstance(extra, dict):
            _refuse("extra")
        room = [self._limits.extras] * self._rows if len(extra) > self._limits.extras else None
        columns: dict[str, Column] = {}
        for key, pair in extra.items():
            self._budget.work(Price.COLUMN)
            rows, values = self._sparse(pair)
            name = self._checks.extra_name(key)
            self._budget.work(len(values) * Price.FIELD)
            if name is None or len(columns) >= self._limits.extra_names:
                self._checks.fields_refused += len(values)
                continue
            self._budget.output(len(values) * (printed(name) + PRINTED_MEMBER))
            checked = self._checks.extras(values)
            if room is not None or (checked is not values and REFUSED in checked):
                rows, checked = self._kept(self._all(rows), checked, room)
            columns[name] = rows, checked
        return columns

    def _kept(self, rows: Sequence[int], values: Sequence[Any], room: list[int] | None) -> Column:
        """What of a column's values is allowed, in records that have room for one more."""
        kept: list[tuple[int, Any]] = []
        for row, value in zip(rows, values, strict=True):
            if value is REFUSED:
                continue
            if room is not None:
                room[row] -= 1
                if room[row] < 0:
                    self._checks.fields_refused += 1
                    continue
            kept.append((row, value))
        return [row for row, _ in kept], [value for _, value in kept]


def _printed_texts(place: tuple[Any, ...]) -> int:
    return printed("".join([value for value in place if value.__class__ is str]))


_SITELESS = ("", 0, "", "", "", "", 0, "")


def _indexes(values: list[Any], end: int) -> list[int]:
    """The values, if they are whole numbers from 0 and below `end`."""
    if values and (set(map(type, values)) != {int} or min(values) < 0 or max(values) >= end):
        _refuse("indexes")
    return values
