"""The sockets and the thread of the faulty proxy.

The proxy listens on one address and gives each client a socket of its own towards the target, so
that the receiver sees different senders as different addresses and its answers find their way
back. What is lost, late or damaged is decided in `scenario` and `link`; this file moves bytes.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchudp_handler.testing.faultproxy.link import Faults
from batchudp_handler.testing.faultproxy.scenario import FaultyPath, Phase, Scenario
from batchudp_handler.waits import clamped

if TYPE_CHECKING:
    from types import TracebackType

MAX_CLIENTS = 1_024
"""Clients that are remembered; the one that was silent longest makes room for the next."""

_READ_SIZE = 65_536
_SOCKET_BUFFER = 8 * 1024 * 1024
"""Asked for, so that the losses are the scenario's and not the proxy's own; the kernel may grant
less, and what it drops is then not counted here."""
_LONGEST_WAIT = 1.0
"""Seconds; a signal that comes just before the wait is handled only after it."""


@dataclass(eq=False, slots=True)
class _Client:
    """A sender: its address, and the socket that stands for it towards the target."""

    address: object
    upstream: socket.socket
    rebinds: int


class FaultProxy:
    """A UDP proxy on which datagrams are lost, late, doubled, reordered and damaged, by script.

    It listens from the moment that it is made; `start` runs it in a thread, `serve_forever` in the
    calling one. As a context manager it starts and closes itself::

        with FaultProxy(receiver.address, Scenario.steady(Faults(loss=0.3))) as proxy:
            handler = BatchUDPHandler(*proxy.address, delivery="acknowledged")

    Args:
        target: host and port of the receiver.
        scenario: what happens to datagrams; nothing by default.
        listen: host and port to listen on; port 0 takes a free one.
    """

    def __init__(
        self,
        target: tuple[str, int],
        scenario: Scenario | None = None,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self._family, self._target = _resolve(target)
        self._listener = _listen(listen)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._clients: dict[object, _Client] = {}
        self._state = threading.Lock()
        """Guards the path, the clients and the target against calls from other threads."""
        self._path: FaultyPath[_Client] = FaultyPath(scenario or Scenario(), now=time.monotonic())
        self._forced_rebinds = 0
        self._send_errors = 0
        # a plain flag: Event.set could be re-entered by a signal handler and hang
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that senders use instead of the receiver's."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def change(
        self,
        to_receiver: Faults | None = None,
        to_sender: Faults | None = None,
        *,
        rebind_interval: float | None = None,
    ) -> None:
        """Replace the scenario from now on; a direction that is not named has no faults."""
        phase = Phase(0.0, to_receiver or Faults(), to_sender or Faults(), rebind_interval)
        with self._state:
            self._path.change(phase, time.monotonic())
        self._wake()

    def redirect(self, target: tuple[str, int]) -> None:
        """Forward to another receiver from now on (of the same address family)."""
        resolved = _resolve(target)
        with self._state:
            self._target = resolved[1]

    def rebind(self) -> None:
        """Give every client a new source port towards the target, from its next datagram on."""
        with self._state:
            self._forced_rebinds += 1

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what was done so far, in datagrams: `to_receiver`, `to_sender` and `proxy`."""
        with self._state:
            counters = self._path.counters()
            counters["proxy"] = {
                "clients": len(self._clients),
                "rebinds": self._rebinds,
                "send_errors": self._send_errors,
            }
        return counters

    def start(self) -> None:
        """Run in a background thread."""
        self._thread = threading.Thread(target=self.serve_forever, name="faultproxy", daemon=True)
        self._thread.start()

    def serve_forever(self) -> None:
        """Run in the calling thread until `shutdown` is called."""
        while not self._stopping:
            for key, _ in self._selector.select(clamped(self._wait_time())):
                self._read(key.fileobj, key.data)
            with self._state:
                self._forward(time.monotonic())

    def shutdown(self) -> None:
        """End `serve_forever`; may be called from any thread and from a signal handler."""
        self._stopping = True
        self._wake()

    def close(self) -> None:
        """Stop and close all sockets. Datagrams on their way are dropped. Idempotent."""
        self.shutdown()
        if self._thread is not None:
            self._thread.join()
        self._selector.close()
        for client in self._clients.values():
            client.upstream.close()
        for sock in (self._listener, self._wake_reader, self._wake_writer):
            sock.close()

    def __enter__(self) -> FaultProxy:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _rebinds(self) -> int:
        return self._path.rebinds + self._forced_rebinds

    def _wake(self) -> None:
        # a full or closed pair means that the loop is awake or gone
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _wait_time(self) -> float:
        with self._state:
            deadline = self._path.next_timeout()
        if deadline is None:
            return _LONGEST_WAIT
        return min(max(0.0, deadline - time.monotonic()), _LONGEST_WAIT)

    def _read(self, sock: object, client: _Client | None) -> None:
        """Take in what waits on one socket, at most 64 datagrams so that no side starves."""
        assert isinstance(sock, socket.socket)
        for _ in range(64):
            try:
                data, address = sock.recvfrom(_READ_SIZE)
            except OSError:
                return
            if sock is self._wake_reader:
                continue
            now = time.monotonic()
            with self._state:
                self._path.handle_timeout(now)
                if client is None:
                    source = self._client(address)
                    self._path.to_receiver.receive_datagram(data, source, now)
                else:
                    self._path.to_sender.receive_datagram(data, client, now)
                # at once: held until the end of the round, reading would add a delay of its own
                self._forward(now)

    def _forward(self, now: float) -> None:
        """Send all that is due. Called with the state locked."""
        self._path.handle_timeout(now)
        for data, client in self._path.to_receiver.datagrams_to_send(now):
            self._rebind_if_due(client)
            self._send(client.upstream, data, self._target)
        for data, client in self._path.to_sender.datagrams_to_send(now):
            self._send(self._listener, data, client.address)

    def _send(self, sock: socket.socket, data: bytes, address: Any) -> None:
        try:
            sock.sendto(data, address)
        except OSError:
            self._send_errors += 1

    def _client(self, address: object) -> _Client:
        """Return the client behind `address`, made when it is new; the latest ones are kept."""
        client = self._clients.pop(address, None)
        if client is None:
            if len(self._clients) >= MAX_CLIENTS:
                self._close_upstream(self._clients.pop(next(iter(self._clients))))
            client = _Client(address, self._open_upstream(), self._rebinds)
            self._selector.register(client.upstream, selectors.EVENT_READ, client)
        self._clients[address] = client
        return client

    def _rebind_if_due(self, client: _Client) -> None:
        if client.rebinds == self._rebinds or client.upstream.fileno() < 0:
            return
        fresh = self._open_upstream()
        self._close_upstream(client)
        client.upstream, client.rebinds = fresh, self._rebinds
        self._selector.register(client.upstream, selectors.EVENT_READ, client)

    def _open_upstream(self) -> socket.socket:
        return _open_socket(self._family)

    def _close_upstream(self, client: _Client) -> None:
        self._selector.unregister(client.upstream)
        client.upstream.close()


def _resolve(address: tuple[str, int]) -> tuple[int, Any]:
    found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    return found[0], found[4]


def _listen(address: tuple[str, int]) -> socket.socket:
    family, resolved = _resolve(address)
    sock = _open_socket(family)
    try:
        sock.bind(resolved)
    except OSError:
        sock.close()
        raise
    return sock


def _open_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
    return sock
