"""Records get through when the cable, the route or the address of the machine changes.

Real kernels on both ends: two network namespaces with a cable between them.
"""

from __future__ import annotations

import contextlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler
from batchudp_handler.core.send.retry import SendFailure
from batchudp_handler.transport import SendError, UDPTransport
from tests.network.support import PATIENCE, Calls, Far, Names, Network, inside, ip
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IPV4_OVERHEAD = 28


@pytest.fixture
def remote(network: Network) -> Iterator[Far]:
    """A receiver at the far end of the cable."""
    with inside(network.far):
        far = Far(network.far_address)
    with far:
        yield far


def attach(calls: Calls, network: Network, port: int, **settings: Any) -> BatchUDPHandler:
    """A handler at the near end; its thread starts with the first record, and lives there."""
    defaults = {"flush_interval": 0.05, "shutdown_timeout": 0.3, "compress": False}
    handler = BatchUDPHandler(network.far_address, port, **{**defaults, **settings})
    calls.logger.addHandler(handler)
    with inside(network.near):
        calls.log(1)
    return handler


def finish(calls: Calls, handler: BatchUDPHandler, remote: Far) -> None:
    """Wait until all has left, and for the last of it."""
    assert handler.flush(PATIENCE)
    remote.wait_for(calls.logged)


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_a_narrow_path(
    calls: Calls, network: Network, remote: Far, delivery: str, settle: Callable[..., Any]
) -> None:
    """With an MTU of 1,280 datagrams are cut to it, and the network never has to."""
    network.set_mtu(1_280)
    handler = attach(calls, network, remote.port, delivery=delivery)
    calls.log(1_500, pause=0.0)
    finish(calls, handler, remote)
    row = settle(f"veth with MTU 1,280, {delivery}", calls, remote.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    assert handler.stats().max_datagram_size == 1_280 - IPV4_OVERHEAD
    assert network.fragments() == 0


@pytest.mark.parametrize("delivery", ["one_way", "acknowledged"])
def test_a_path_that_gets_narrower(
    calls: Calls, network: Network, remote: Far, delivery: str, settle: Callable[..., Any]
) -> None:
    """The MTU falls from 1,500 to 1,280 in the middle: what no longer fits is cut again."""
    handler = attach(calls, network, remote.port, delivery=delivery)
    calls.log(1_500, pause=0.0)
    wait_until(lambda: handler.stats().max_datagram_size == 1_500 - IPV4_OVERHEAD)
    # as a path does in reality: the near end is told, and what is on the cable still arrives
    network.set_mtu(1_280, network.near)
    calls.log(1_500, pause=0.0)
    finish(calls, handler, remote)
    row = settle(f"MTU lowered from 1,500 to 1,280, {delivery}", calls, remote.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    assert handler.stats().max_datagram_size == 1_280 - IPV4_OVERHEAD
    assert network.fragments() == 0


def test_a_path_that_swallows_what_is_too_big(
    calls: Calls, network: Network, remote: Far, settle: Callable[..., Any]
) -> None:
    """No router says that 1,472 bytes are too many: acknowledged delivery finds out by itself."""
    network.set_mtu(1_280, network.far)
    handler = attach(
        calls,
        network,
        remote.port,
        delivery="acknowledged",
        batch_size=10_000,  # so that datagrams are full
        flush_interval=60.0,
    )
    calls.log(3_000, pause=0.0)
    finish(calls, handler, remote)
    row = settle("black hole above 1,284 bytes, acknowledged", calls, remote.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    stats = handler.stats()
    assert stats.confirmed == calls.logged
    assert stats.max_datagram_size <= 1_284 - IPV4_OVERHEAD
    assert stats.resealed > 0


@pytest.mark.parametrize("fit_path", [True, False])
def test_who_cuts_a_datagram_that_is_too_big(
    network: Network, remote: Far, fit_path: bool
) -> None:
    """The kernel says no and leaves the cutting to us, unless a size was chosen by the user."""
    network.set_mtu(1_280)
    transport = UDPTransport(
        network.far_address,
        remote.port,
        fit_path=fit_path,
        resolve_interval=None,
        run_aside=lambda function: function(),
        random=lambda: 0.5,
    )
    with closing(transport), inside(network.near):
        assert transport.open(0.0)
        if fit_path:
            with pytest.raises(SendError) as caught:
                transport.send(bytes(1_400))
            assert caught.value.failure is SendFailure.TOO_BIG
        else:
            transport.send(bytes(1_400))
    assert network.fragments() == (0 if fit_path else 2)


@contextlib.contextmanager
def cut_by(network: Network, kind: str) -> Iterator[None]:
    """Make the far end unreachable, in one of several ways."""
    near, target = network.near, network.far_address
    if kind == "no route":
        ip("route", "delete", "10.77.0.0/24", namespace=near)
        yield
        ip("route", "add", "10.77.0.0/24", "dev", "cable", namespace=near)
    elif kind == "link down":
        ip("link", "set", "cable", "down", namespace=near)
        yield
        ip("link", "set", "cable", "up", namespace=near)
    elif kind == "new address":
        ip("address", "delete", f"{network.near_address}/24", "dev", "cable", namespace=near)
        yield
        network.connect(near, "10.77.0.9")
    else:
        ip("route", "add", kind, target, namespace=near)
        yield
        ip("route", "delete", kind, target, namespace=near)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("no route", "ENETUNREACH"),
        ("link down", "ENETUNREACH"),
        ("unreachable", "EHOSTUNREACH"),
        ("prohibit", "EACCES"),
        ("blackhole", "EINVAL"),
        ("new address", "ENETUNREACH"),
    ],
)
def test_a_network_that_is_away_for_a_while(
    calls: Calls,
    network: Network,
    remote: Far,
    kind: str,
    error: str,
    settle: Callable[..., Any],
) -> None:
    """Records wait while the kernel has no way, and arrive once when it has one again."""
    handler = attach(calls, network, remote.port, max_retries=20)
    calls.log(30)
    finish(calls, handler, remote)
    with cut_by(network, kind):
        calls.log_until(lambda: handler.stats().send_errors.get(error, 0) >= 2)
        calls.log(30)
    finish(calls, handler, remote)
    row = settle(f"{kind} for a while ({error}), one_way", calls, remote.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    if kind == "new address":
        assert remote.records[-1].__dict__["remote_addr"].startswith("10.77.0.9:")


def test_an_address_that_no_route_leads_to(
    calls: Calls, network: Network, remote: Far, names: Names, settle: Callable[..., Any]
) -> None:
    """Of two addresses the first has no route: the second is used at once."""
    names.answers["service.example"] = [
        ("192.0.2.1", remote.port),
        (network.far_address, remote.port),
    ]
    handler = BatchUDPHandler("service.example", flush_interval=0.05)
    calls.logger.addHandler(handler)
    with inside(network.near):
        calls.log(1)
        wait_until(lambda: handler.stats().sent)  # the look-up's thread starts here, too
    calls.log(90)
    finish(calls, handler, remote)
    row = settle("several addresses, no route to the first", calls, remote.messages)
    assert (row.lost, row.duplicated) == (0, 0)
    assert handler.stats().send_errors == {"ENETUNREACH": 1}
