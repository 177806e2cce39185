"""The names that a program may import from the top of the package, and what loads them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import batchudp_handler
from batchudp_handler import testing


@pytest.mark.parametrize("name", batchudp_handler.__all__)
def test_each_public_name_is_there(name: str) -> None:
    """It can be imported from the top, and is listed by `dir`."""
    assert getattr(batchudp_handler, name) is not None
    assert name in dir(batchudp_handler)


def test_what_methods_return_and_take_can_be_named() -> None:
    """Annotations of a program need no import from inside the package."""
    with testing.LogReceiver() as receiver:
        handler = receiver.handler(logger="shop")

        assert isinstance(handler.stats(), batchudp_handler.SenderStats)
        assert isinstance(receiver.stats(), batchudp_handler.ReceiverStats)
    with pytest.raises(batchudp_handler.ConfigError):
        batchudp_handler.HandlerConfig(port=0)


@pytest.mark.parametrize("module", [batchudp_handler, testing])
def test_another_name_is_an_attribute_error(module: object) -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Receiver'"):
        module.Receiver  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", sorted(batchudp_handler.LOADED_LATER))
def test_a_name_is_loaded_at_its_first_use(name: str) -> None:
    """Importing the package does not load it; asking for it does."""
    code = (
        "import batchudp_handler as package\n"
        f"before = {name!r} in vars(package)\n"
        f"print(before, package.{name}.__name__)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == ["False", name]
