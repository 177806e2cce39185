"""Delivery of records that came over the network to local loggers.

A record goes to the nearest logger that exists: looked up by the record's name, then by its dotted
prefixes, and the root logger in the end. That is where a logger of the full name would hand its
records on to, so nothing changes for the handlers; but no logger is ever made for a remote name.
`logging` keeps loggers for ever, and one name with 16,000 dots costs 250 MB.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from batchudp_handler.core.payload.limits import DecodeLimits
from batchudp_handler.receiver.guard import Guard, Seam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["DIAGNOSTICS", "Outcome", "Reemitter", "nearest_logger"]

DIAGNOSTICS = "batchudp.receiver"
"""The receiver's own logger. A remote record cannot speak through it."""

LOGGER_COMPONENTS = DecodeLimits().logger_components

_NEVER = float("inf")


def nearest_logger(
    name: str, manager: logging.Manager, components: int = LOGGER_COMPONENTS
) -> logging.Logger:
    """Return the existing logger of that name, or of its nearest ancestor; at last the root."""
    if name.count(".") >= components:
        return manager.root
    if name == DIAGNOSTICS or name.startswith(DIAGNOSTICS + "."):
        name = DIAGNOSTICS.rpartition(".")[0]
    loggers = manager.loggerDict
    while name:
        found = loggers.get(name)
        if isinstance(found, logging.Logger):
            return found
        name = name.rpartition(".")[0]
    return manager.root


@dataclass(slots=True)
class Outcome:
    """The outcome of one batch: what became of its records."""

    filtered: int = 0
    """No local logger or handler wanted them at their level."""
    unhandled: int = 0
    """There is no handler that they could have reached."""
    unhandled_name: str = ""
    """The name of the latest of these records."""
    errors: int = 0
    """A local handler or filter raised."""


class _Route(NamedTuple):
    handle: Callable[[logging.LogRecord], None]
    is_enabled_for: Callable[[int], bool] | None
    """Where a logger class of the user decides itself."""
    threshold: float
    """The level from which the logger takes records."""
    reach: float | None
    """The level from which a handler takes what the logger has taken; None: there is none."""
    certain: float
    """The level from which a record reaches a handler, and nothing is to be counted."""


class Reemitter:
    """Hands records to local loggers, as if they had been logged here.

    Args:
        prefix: Put before each record's name, so that remote records can be told apart.
        manager: The hierarchy of loggers; by default that of `logging`.
        components: Parts of a name, beyond which the root logger gets the record.
        restore_exceptions: Whether records get an `exc_info` made of what is said of exceptions.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        manager: logging.Manager | None = None,
        components: int = LOGGER_COMPONENTS,
        restore_exceptions: bool = False,
    ) -> None:
        self.restore_exceptions = restore_exceptions
        self._prefix = prefix
        self._components = components
        self._manager = logging.Logger.manager if manager is None else manager

    def deliver(self, records: Iterable[logging.LogRecord], guard: Guard | None = None) -> Outcome:
        """Hand over each record; a handler that raises does not keep the others from it."""
        guard = Guard() if guard is None else guard
        outcome = Outcome()
        routes: dict[str, _Route] = {}
        prefix = self._prefix
        for record in records:
            try:
                if prefix:
                    record.name = prefix + record.name
                route = routes.get(record.name)
                if route is None:
                    route = routes[record.name] = self._route(record.name)
                if record.levelno >= route.certain or _passes(route, record, outcome):
                    route.handle(record)
            except BaseException as error:  # noqa: BLE001  # whatever code of the program raises
                outcome.errors += 1
                guard.failed(Seam.HANDLER, error)
        return outcome

    def _route(self, name: str) -> _Route:
        """Decide where records of this name go, once per batch.

        `Logger.isEnabledFor` remembers every level number that it was asked about, which a
        sender with a million of them could use; its answer comes from these three values.
        """
        logger = nearest_logger(name, self._manager, self._components)
        reach = _reach(logger)
        if type(logger).isEnabledFor is not logging.Logger.isEnabledFor:
            return _Route(logger.handle, logger.isEnabledFor, 0, reach, _NEVER)
        threshold: float = max(logger.getEffectiveLevel(), self._manager.disable + 1)
        if logger.disabled:
            threshold = _NEVER
        certain = _NEVER if reach is None else max(threshold, reach)
        return _Route(logger.handle, None, threshold, reach, certain)


def _passes(route: _Route, record: logging.LogRecord, outcome: Outcome) -> bool:
    """Return whether a logger takes the record; count what keeps it from the handlers."""
    if not _wants(route, record.levelno):
        outcome.filtered += 1
        return False
    if route.reach is None:
        outcome.unhandled += 1
        outcome.unhandled_name = record.name
    elif record.levelno < route.reach:
        outcome.filtered += 1
    # even so: filters of the logger may count, and `logging.lastResort` may print it
    return True


def _wants(route: _Route, levelno: int) -> bool:
    if route.is_enabled_for is not None:
        return route.is_enabled_for(levelno)
    return levelno >= route.threshold


def _reach(logger: logging.Logger) -> float | None:
    """Return the lowest level of the handlers of `Logger.callHandlers`; None: there is none.

    Of a logger class with other ways to its handlers nothing is known: all levels reach them.
    """
    kind = type(logger)
    if (kind.handle, kind.callHandlers) != (logging.Logger.handle, logging.Logger.callHandlers):
        return -_NEVER
    return min((handler.level for handler in _handlers_of(logger)), default=None)


def _handlers_of(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
