"""Where do the records of `batchudp-receive` go?

To whatever a logging configuration says, or without one to standard output or a file. `apply`
may be called again: it builds the new output before it lets go of the old one.
"""

from __future__ import annotations

import logging
import logging.config
from copy import deepcopy
from typing import IO, TYPE_CHECKING, Any

from batchudp_handler.console import (
    DEFAULT_PATTERN,
    FileOutput,
    JSONFormatter,
    Output,
    StreamOutput,
    TextFormatter,
    wants_colour,
)
from batchudp_handler.core.errors import ConfigError
from batchudp_handler.receiver.reemit import DIAGNOSTICS
from batchudp_handler.settings import LEVEL, PATH, SWITCH, TEXT, choice, integer, optional, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.cli.shared import SharedLock

__all__ = ["OutputConfig", "Sinks"]

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputConfig:
    """Where records go when no logging configuration says it."""

    output: str | None = setting(None, optional(PATH), "append records to this file")
    max_bytes: int = setting(
        0, integer(0, 1 << 50, "BYTES"), "rotate the file before it grows beyond this; 0: never"
    )
    backups: int = setting(5, integer(0, 10_000), "how many rotated files to keep")
    format: str = setting("text", choice("text", "json"), "how a record is written")
    pattern: str = setting(
        DEFAULT_PATTERN, TEXT, "a line of text, with the names of record attributes"
    )
    raw: bool = setting(False, SWITCH, "write control characters as they came")
    level: int = setting(logging.NOTSET, LEVEL, "records below this level are left out")


class Sinks:
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
        stdout: IO[str],
        stderr: IO[str],
        shared: SharedLock | None = None,
    ) -> None:
        self._shared = shared
        self._environ = environ
        self._stdout = stdout
        self._output: Output | None = None
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

    def flush(self) -> None:
        """Write what the batch left in the output."""
        if self._output is not None:
            self._output.flush()

    @property
    def has_reader(self) -> bool:
        """Whether somebody still reads standard output, where records go there."""
        return getattr(self._output, "has_reader", True)

    def close(self) -> None:
        """Write and close everything."""
        if self._output is not None:
            logging.getLogger().removeHandler(self._output)
            self._output.close()
        logging.shutdown()

    def _make_output(self, config: OutputConfig) -> Output:
        colour = config.output is None and wants_colour(self._stdout, self._environ)
        try:
            formatter: logging.Formatter
            if config.format == "json":
                formatter = JSONFormatter(raw=config.raw)
            else:
                formatter = TextFormatter(config.pattern, colour=colour, raw=config.raw)
            output = self._open(config)
        except (OSError, ValueError) as error:
            message = f"output: {error}"
            raise ConfigError(message) from None
        output.setFormatter(formatter)
        output.addFilter(_came_over_the_network)
        return output

    def _open(self, config: OutputConfig) -> Output:
        path, max_bytes, backups = config.output, config.max_bytes, config.backups
        if self._shared is not None:
            from batchudp_handler.cli.shared import SharedFileOutput, SharedStreamOutput

            if path is None:
                return SharedStreamOutput(self._stdout, self._shared)
            return SharedFileOutput(path, self._shared, max_bytes=max_bytes, backups=backups)
        if path is None:
            return StreamOutput(self._stdout)
        return FileOutput(path, max_bytes=max_bytes, backups=backups)

    def use_diagnostics(self, logging_config: Mapping[str, Any]) -> None:
        """Standard error, unless the configuration has its own wishes for this logger."""
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
    """The output holds records of senders, none that a library logs in this process."""
    return hasattr(record, "received")


def _use_logging_config(config: Mapping[str, Any]) -> None:
    try:
        logging.config.dictConfig(deepcopy(dict(config)))
    except (ValueError, TypeError, AttributeError, ImportError, KeyError, OSError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        message = f"logging configuration: {error}{cause}"
        raise ConfigError(message) from None
