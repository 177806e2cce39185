"""Networks that move, and a table of what they did to the records."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.network.support import Calls, Far, Names, Network, inside

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator

    from tests.table import Row, Table


@pytest.fixture
def calls(logger: logging.Logger) -> Calls:
    """Log calls that are timed."""
    return Calls(logger)


@pytest.fixture
def far() -> Iterator[Far]:
    """A receiver on the loopback."""
    with Far() as made:
        yield made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Host names whose addresses the test decides about."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.is_held = False


@pytest.fixture
def network(require: Callable[..., str]) -> Iterator[Network]:
    """Two hosts and a cable; needs the right to make network namespaces."""
    require("ip", is_of_system=True)
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(Network())
            with inside(made.near):
                pass
        except (AssertionError, OSError) as error:
            message = f"no network namespaces here: {error}"
            is_forbidden = any(word in str(error) for word in ("not permitted", "denied"))
            if os.environ.get("BATCHUDP_REQUIRE") and not is_forbidden:
                pytest.fail(message)
            pytest.skip(message)
        yield made


@pytest.fixture
def settle(table: Table) -> Callable[..., Row]:
    """Put what came of the records into the table, and require quick log calls."""

    def count(case: str, calls: Calls, messages: list[str]) -> Row:
        row = table.add(case, calls.messages, messages, calls.began)
        table.calls[case] = calls.usual_longest
        assert set(messages) <= set(calls.messages), "records that nobody logged"
        assert calls.is_quick, "the usual round had a log call that waited"
        return row

    return count
