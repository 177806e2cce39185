"""The outputs of `batchudp-receive`: what a logging configuration says, standard output or a file.

`apply` may be called again: it builds the new output before it lets go of the old one. What an
output refuses is counted here, for as long as the process lives.
"""

from __future__ import annotations

import logging
import logging.config
import os
import threading
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, TextIO

from batchudp_handler.console import DEFAULT_PATTERN, JSONFormatter, TextFormatter, wants_colour
from batchudp_handler.core.errors import ConfigError, UnfinishedBatch
from batchudp_handler.core.output.line_pattern import check_pattern
from batchudp_handler.core.records.arrival import arrival_of
from batchudp_handler.outputs.file import FileTarget
from batchudp_handler.outputs.output import Counters, Output
from batchudp_handler.outputs.stream import StreamTarget
from batchudp_handler.receiver.reemit import DIAGNOSTICS
from batchudp_handler.settings import (
    LEVEL,
    PATH,
    SWITCH,
    TEXT,
    choice,
    integer,
    optional,
    setting,
    word_or_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.cli.process_lock import ProcessLock
    from batchudp_handler.core.receive.stats import ReceiverStats
    from batchudp_handler.outputs.output import Target

__all__ = ["OutputConfig", "Outputs"]


@dataclass(frozen=True, slots=True)
class OutputConfig:
    """Where records go when no logging configuration says it."""

    output: str | None = setting(None, optional(PATH), "append records to this file")
    max_bytes: int = setting(
        0,
        integer(0, 1 << 50, "bytes"),
        "rotate the file before it grows beyond so many bytes; 0: never",
    )
    backups: int = setting(5, integer(0, 10_000, "files"), "number of rotated files to keep")
    format: str = setting("text", choice("text", "json"), "format of the written records")
    pattern: str = setting(
        DEFAULT_PATTERN, TEXT, "format of a line of text, with the names of record attributes"
    )
    fsync: str | float = setting(
        "off",
        word_or_seconds("off", "batch"),
        "when written data is flushed to the disk: off, batch (before it is confirmed), or every "
        "so many seconds",
    )
    raw: bool = setting(False, SWITCH, "write control characters without escaping them")
    level: int = setting(logging.NOTSET, LEVEL, "records below this level are not written")


class Outputs:
    """The outputs of one process, and the logger that tells about the receiver itself.

    Args:
        environ: Where the wish for colours is.
        stdout: For records.
        stderr: For everything else.
        shared: Held while something is written, where other processes write to the same place.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        stdout: TextIO,
        stderr: IO[str],
        shared: ProcessLock | None = None,
    ) -> None:
        self._shared = shared
        self._environ = environ
        self._stdout = stdout
        self._output: Output | None = None
        self._target: Target | None = None
        self.doubts: list[str] = []
        """What may be a mistake in the pattern, in words."""
        self._counters = Counters()
        self._ends = threading.Event()
        self._log = logging.getLogger(DIAGNOSTICS)
        self._diagnostics = logging.StreamHandler(stderr)
        words = "batchudp-receive: %(levelname)s: %(message)s"
        self._diagnostics.setFormatter(TextFormatter(words, colour=wants_colour(stderr, environ)))

    def apply(self, config: OutputConfig, logging_config: Mapping[str, Any] | None) -> None:
        """Let records go where these say, from now on.

        Raises:
            ConfigError: They cannot; an output that was there stays.
        """
        root = logging.getLogger()
        old, self._output = self._output, None
        try:
            if logging_config is not None:
                _use_logging_config(logging_config)
            else:
                self._output = self._make_output(config)
                root.addHandler(self._output)
                root.setLevel(config.level)
        except ConfigError:
            self._output = old
            raise
        if old is not None:
            root.removeHandler(old)
            old.close()
        self.use_diagnostics(logging_config or {})
        for doubt in self.doubts:
            self._log.warning("%s", doubt)

    def flush(self) -> None:
        """Write what the batch left in the output.

        Raises:
            UnfinishedBatch: The process ends, or nobody reads; not all is written.
        """
        if self._output is None:
            return
        try:
            self._output.flush()
        except UnfinishedBatch:
            raise
        except Exception as error:  # nothing is confirmed that may not be written
            raise UnfinishedBatch from error

    @property
    def has_reader(self) -> bool:
        """Whether standard output still has a reader, if records go there."""
        return self._output is None or self._output.has_reader

    @property
    def problem(self) -> str | None:
        """What keeps records from being written; None: nothing."""
        return None if self._output is None else self._output.problem

    def add_to(self, stats: ReceiverStats) -> ReceiverStats:
        """Return the counters of a receiver with those of its outputs."""
        output = self._output
        return replace(
            stats,
            unformatted=dict(self._counters.unformatted),
            output_errors=dict(self._counters.refused),
            output_blocked=0.0 if output is None else output.blocked_seconds,
        )

    def give_up(self) -> None:
        """Try once more what is refused, and no longer: the process ends."""
        self._ends.set()

    def close(self) -> bool:
        """Write and close everything; False: something holds on to an output."""
        self.give_up()
        output = self._output
        if output is not None:
            logging.getLogger().removeHandler(output)
            if not output.close_soon():
                return False
        logging.shutdown()
        return True

    def _make_output(self, config: OutputConfig) -> Output:
        colour = config.output is None and wants_colour(self._stdout, self._environ)
        try:
            formatter: logging.Formatter
            if config.format == "json":
                formatter = JSONFormatter(raw=config.raw)
            else:
                self.doubts = check_pattern(config.pattern)
                formatter = TextFormatter(config.pattern, colour=colour, raw=config.raw)
            self._target = self._open(config)
        except ConfigError:
            raise
        except (OSError, ValueError) as error:
            message = f"output: {_in_words(error, config.output)}"
            raise ConfigError(message) from None
        output = Output(
            self._target,
            counters=self._counters,
            give_up=self._ends.wait,
            tell=lambda level, text: self._log.log(level, "%s", text),
            sync_interval=_sync_interval(config.fsync),
        )
        output.setFormatter(formatter)
        output.addFilter(_came_over_the_network)
        return output

    def _open(self, config: OutputConfig) -> Target:
        if config.output is None:
            return StreamTarget(self._stdout, exclusive=self._shared)
        former = self._target
        return FileTarget(
            config.output,
            max_bytes=config.max_bytes,
            backups=config.backups,
            exclusive=self._shared,
            on_rotation_failed=lambda error: self._log.warning(
                "%s cannot be rotated and keeps growing: %s", config.output, error
            ),
            like=former.status if isinstance(former, FileTarget) else None,
        )

    def use_diagnostics(self, logging_config: Mapping[str, Any]) -> None:
        """Send diagnostics to standard error, unless the configuration names their logger."""
        logger = logging.getLogger(DIAGNOSTICS)
        logger.disabled = False
        configured = logging_config.get("loggers") or {}
        if DIAGNOSTICS in configured or DIAGNOSTICS.rpartition(".")[0] in configured:
            logger.removeHandler(self._diagnostics)
            return
        logger.propagate = False
        logger.setLevel(logging.DEBUG)  # senders that leave with nothing lost
        logger.addHandler(self._diagnostics)


def _came_over_the_network(record: logging.LogRecord) -> bool:
    """Return whether a sender made the record, and no library in this process."""
    return arrival_of(record) is not None


def _use_logging_config(config: Mapping[str, Any]) -> None:
    try:
        logging.config.dictConfig(deepcopy(dict(config)))
    except (ValueError, TypeError, AttributeError, ImportError, KeyError, OSError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        message = f"logging configuration: {error}{cause}"
        raise ConfigError(message) from None


def _sync_interval(fsync: str | float) -> float | None:
    """Return the seconds between two syncs, 0 for one after each batch; None: never."""
    if isinstance(fsync, str):
        return 0.0 if fsync == "batch" else None
    return fsync


def _in_words(error: Exception, path: str | None) -> str:
    """Return what is wrong with an output, and what helps."""
    if isinstance(error, FileNotFoundError) and path is not None:
        directory = os.path.dirname(os.path.abspath(path))
        return f"{path}: its directory does not exist; make it: mkdir -p {directory}"
    return str(error)
