"""Settings: what is accepted, what is refused and with which words."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys

import pytest

from batchudp_handler.config import (
    ConfigError,
    HandlerConfig,
    ReceiverConfig,
    settings_of,
    split_address,
)
from batchudp_handler.settings import from_environment

FIXED_NAMES = {
    "SERVER_HOST": "0.0.0.0",
    "SERVER_PORT": 9999,
    "BUFFER_SIZE": 65_535,
    "TARGET_HOST": "localhost",
    "TARGET_PORT": 9999,
    "BATCH_SIZE": 10,
    "FLUSH_INTERVAL": 5.0,
    "COMPRESS": True,
    "MAX_RETRIES": 3,
}


def test_fixed_environment_names_and_defaults() -> None:
    """The plain environment names and their defaults are part of the interface."""
    table = {
        item.variable: item.default
        for config in (HandlerConfig, ReceiverConfig)
        for item in settings_of(config)
        if item.plain
    }
    assert table == FIXED_NAMES


def test_numbers_and_switches_as_text() -> None:
    """A value from the environment or a dictConfig entry may be text."""
    config = HandlerConfig.from_mapping(
        {
            "port": "9998",
            "batch_size": "50",
            "flush_interval": "0.5",
            "compress": "no",
            "flush_level": "warning",
            "max_datagram_size": "1472",
            "overflow_timeout": "none",
            "static_fields": "service=web, zone=b",
        }
    )
    assert (config.port, config.batch_size, config.flush_interval) == (9998, 50, 0.5)
    assert config.compress is False
    assert config.flush_level == 30
    assert config.max_datagram_size == 1472
    assert config.overflow_timeout is None
    assert config.static_fields == {"service": "web", "zone": "b"}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("logs", ("logs", 9)),
        ("logs:9998", ("logs", 9998)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("::1", ("::1", 9)),
        ("[::1]", ("::1", 9)),
        ("[::1]:9998", ("::1", 9998)),
        ("unix:///run/batchudp.sock", ("unix:///run/batchudp.sock", 9)),
    ],
)
def test_addresses(host: str, expected: tuple[str, int]) -> None:
    """The port may stand behind the host; IPv6 addresses need brackets for that."""
    assert split_address(host, 9) == expected


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "logs:",
        "logs:x",
        ":9999",
        "logs:70000",
        "[::1]x",
        "unix:/run/x",
        "unix://x",
    ],
)
def test_bad_addresses(host: str) -> None:
    """A host that cannot be one is refused with the forms that can."""
    with pytest.raises(ConfigError, match=r"host must be .*unix:///path"):
        HandlerConfig(host=host)


def test_unix_path_that_the_kernel_cannot_hold() -> None:
    """A socket path over the kernel's limit is refused before any bind."""
    HandlerConfig(host="unix:///" + "x" * 106)
    with pytest.raises(ConfigError, match="107 bytes"):
        HandlerConfig(host="unix:///" + "x" * 107)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("port", 0, "from 1 to 65535"),
        ("port", 65_536, "from 1 to 65535"),
        ("port", 9.5, "whole number"),
        ("level", "LOUD", "name of a level"),
        ("level", -1, "level number"),
        ("batch_size", 0, "from 1 to 1000000000"),
        ("batch_size", True, "whole number"),
        ("flush_interval", 0, "above 0"),
        ("flush_interval", "inf", "above 0"),
        ("flush_interval", True, "above 0"),
        ("capacity", None, "from 1 to 1000000000"),
        ("overflow", "drop", "'drop_oldest' or 'drop_newest' or 'block'"),
        ("overflow_timeout", -1, "at least 0"),
        ("compress", "maybe", "true or false"),
        ("encoding", "pickle", "'compact' or 'json'"),
        ("max_datagram_size", 255, "from 256 to 65507"),
        ("max_datagram_size", 65_508, "from 256 to 65507"),
        ("delivery", "twice", "'one_way' or 'acknowledged'"),
        ("static_fields", {"a": object()}, "JSON values"),
        ("static_fields", {"a": float("nan")}, "JSON values"),
        ("static_fields", {"not a name": 1}, "JSON values"),
        ("static_fields", "service", "JSON values"),
        ("spool_directory", "", "a path"),
        ("host", 7, "host name"),
    ],
)
def test_refusals_say_what_is_allowed(name: str, value: object, words: str) -> None:
    """A value that is not allowed is a ValueError that names the setting and the choices."""
    if name == "spool_directory":
        assert HandlerConfig.from_mapping({name: value}).spool_directory is None
        return
    with pytest.raises(ValueError, match=words) as caught:
        HandlerConfig.from_mapping({name: value})
    assert str(caught.value).startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"spool_directory": "/var/spool/x"}, "needs delivery='acknowledged'"),
        ({"encoding": "json", "delivery": "acknowledged"}, "need encoding='compact'"),
        ({"encoding": "json", "key_file": "/etc/key"}, "need encoding='compact'"),
        ({"host": "logs:0"}, "from 1 to 65535"),
    ],
)
def test_settings_that_exclude_each_other(values: dict[str, object], words: str) -> None:
    """Combinations that cannot work are refused, not ignored."""
    with pytest.raises(ConfigError, match=words):
        HandlerConfig.from_mapping(values)


def test_unknown_name_is_a_type_error() -> None:
    """A misspelt keyword is refused as Python refuses it in a call."""
    with pytest.raises(TypeError, match="'batchsize'"):
        HandlerConfig.from_mapping({"batchsize": 5})


def test_replace_validates_and_leaves_the_original() -> None:
    """A changed copy is validated; the original is what it was."""
    config = HandlerConfig(batch_size=5)
    assert config.replace({"batch_size": "7"}).batch_size == 7
    assert config.batch_size == 5
    with pytest.raises(ConfigError):
        config.replace({"batch_size": 0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch_size = 9  # type: ignore[misc]


def test_static_fields_are_a_copy() -> None:
    """What the caller does to its mapping later does not reach the config."""
    given = {"service": "web"}
    config = HandlerConfig(static_fields=given)
    given["service"] = "other"
    assert config.static_fields == {"service": "web"}


def test_prefixed_environment_name_wins_and_empty_counts_as_unset() -> None:
    """``BATCHUDP_X`` beats ``X``; Compose passes unset variables as empty text."""
    environ = {
        "TARGET_HOST": "plain",
        "BATCHUDP_TARGET_HOST": "prefixed",
        "BATCHUDP_BATCH_SIZE": "",
        "BATCH_SIZE": "77",
        "LEVEL": "ERROR",
        "BATCHUDP_DELIVERY": "acknowledged",
    }
    config = HandlerConfig.from_env(environ)
    assert config == HandlerConfig(host="prefixed", batch_size=77, delivery="acknowledged")
    assert from_environment(ReceiverConfig, environ) == {}


def test_receiver_config_from_env() -> None:
    """The receiver has its own names and lists with commas."""
    config = ReceiverConfig.from_env(
        {"SERVER_HOST": "127.0.0.1", "BATCHUDP_ALLOW": "10.0.0.0/8, 2001:db8::/32, 192.0.2.7"}
    )
    assert config.host == "127.0.0.1"
    assert config.allow == ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32")
    with pytest.raises(ConfigError, match="networks such as"):
        ReceiverConfig(allow=("nonsense",))


def test_paths_may_be_path_objects() -> None:
    """A path setting takes a ``pathlib.Path``, alone or in a list."""
    path = pathlib.Path("/etc/batchudp.key")
    assert HandlerConfig(key_file=path).key_file == str(path)  # type: ignore[arg-type]
    assert ReceiverConfig(key_file=path).key_file == (str(path),)  # type: ignore[arg-type]


def test_names_are_unambiguous() -> None:
    """Within one config no flag and no environment name stands for two settings."""
    for config in (HandlerConfig, ReceiverConfig):
        table = settings_of(config)
        flags = [flag for item in table for flag in item.flags]
        names = [name for item in table for name in item.environment_names]
        assert len(set(flags)) == len(flags)
        assert len(set(names)) == len(names)
        assert all(item.help for item in table)


def test_import_is_light() -> None:
    """Reading settings needs neither TOML nor argparse."""
    code = (
        "import sys, batchudp_handler.config\n"
        "heavy = {'tomllib', 'argparse', 'asyncio', 'ipaddress', 'http'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    # where coverage is measured, it would be started in there as well, with its own imports
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert run.stdout.strip() == "[]"
