"""The settings of the sending side, made from those of a handler."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from batchudp_handler.core.errors import ConfigError
from batchudp_handler.core.records.batch import BatchHeader
from batchudp_handler.core.send.session import SessionSettings
from batchudp_handler.core.send.settings import SenderSettings
from batchudp_handler.core.send.storage import StoragePolicy
from batchudp_handler.core.send.taking import TakingLimits
from batchudp_handler.core.wire.constants import MAX_DATAGRAM_SIZE
from batchudp_handler.core.wire.datagram import CHECKSUM
from batchudp_handler.flusher import FlusherSettings
from batchudp_handler.settings import values_of
from batchudp_handler.transport import host_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batchudp_handler.config import HandlerConfig
    from batchudp_handler.core.records.batch import JSON
    from batchudp_handler.core.wire.auth import Key

__all__ = ["check_spool", "flusher_settings", "key_of"]

HELD_SHARE = 2
"""Half of the capacity, in records and in bytes, may be on its way; the other half is for records
that come meanwhile."""


def key_of(config: HandlerConfig) -> Key | None:
    """Return the key that seals every datagram, the last of the key file.

    Raises:
        ConfigError: The file cannot be used.
    """
    if config.key_file is None:
        return None
    from batchudp_handler.keys import load_keys  # brings hashlib and hmac along

    return load_keys([config.key_file])[-1]


def check_spool(config: HandlerConfig) -> None:
    """Refuse a path that is surely a mistake; other trouble may pass while records flow.

    Raises:
        ConfigError: The directory above the spool's does not exist.
    """
    if config.spool_directory is None:
        return
    above = os.path.dirname(os.path.abspath(config.spool_directory))
    if not os.path.isdir(above):
        message = (
            f"spool_directory: {above} is no directory; make it first, "
            "as only the last directory of the path is made"
        )
        raise ConfigError(message)


def flusher_settings(config: HandlerConfig, key: Key | None) -> FlusherSettings:
    """Return the settings of the flusher; those of a handler's names have its values."""
    given = _values_for(FlusherSettings, config)
    given["spool_fsync"] = config.spool_fsync == "batch"
    return FlusherSettings(
        **given,
        session=SessionSettings(
            sender=_sender_settings(config, key),
            taking=TakingLimits(**_values_for(TakingLimits, config)),
            fit_path=config.max_datagram_size is None,
        ),
    )


def _sender_settings(config: HandlerConfig, key: Key | None) -> SenderSettings:
    is_stored = config.spool_directory is not None
    given = _values_for(SenderSettings, config)
    given["max_datagram_size"] = config.max_datagram_size or MAX_DATAGRAM_SIZE
    return SenderSettings(
        **given,
        # a copy: `config` is handed out, and what is nested in it can be changed
        header=BatchHeader(
            config.hostname or host_name(),
            cast("Mapping[str, JSON]", deepcopy(config.static_fields)),
        ),
        seal=CHECKSUM if key is None else key.sender,
        own_seal=None if key is None else key.receiver,
        acknowledged=config.delivery == "acknowledged",
        max_held_records=max(1, config.capacity // HELD_SHARE),
        max_retained_bytes=config.capacity_bytes // HELD_SHARE,
        storage=StoragePolicy.WHEN_NEEDED if is_stored else StoragePolicy.OFF,
    )


def _values_for(settings_class: type, config: HandlerConfig) -> dict[str, Any]:
    """Return the handler's values of the settings that have the same name there."""
    wanted = {item.name for item in fields(settings_class)}
    return {name: value for name, value in values_of(config).items() if name in wanted}
