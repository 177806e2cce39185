"""All datagrams of a session, in order, as somebody has them who listens on the way."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Self

LARGEST = 65_536


class Tap:
    """Passes datagrams on between one sender and a receiver, and keeps them.

    Afterwards it plays them again, from the address that the receiver knows and from another.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.to_receiver: list[bytes] = []
        self.to_sender: list[bytes] = []
        self._target = target
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener.bind(("127.0.0.1", 0))
        self._upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._upstream.bind(("127.0.0.1", 0))
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._pass_on)

    @property
    def address(self) -> tuple[str, int]:
        """Where the sender believes the receiver."""
        host, port = self._listener.getsockname()
        return host, port

    def _pass_on(self) -> None:
        client = None
        with selectors.DefaultSelector() as selector:
            for each in (self._listener, self._upstream, self._wake):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake in ready:
                    return
                if self._listener in ready:
                    data, client = self._listener.recvfrom(LARGEST)
                    self.to_receiver.append(data)
                    self._upstream.sendto(data, self._target)
                if self._upstream in ready and client is not None:
                    data = self._upstream.recv(LARGEST)
                    self.to_sender.append(data)
                    self._listener.sendto(data, client)

    def stop(self) -> None:
        """Stop listening; what was heard is kept."""
        self._waker.send(b"\0")
        self._thread.join()

    def replay(self) -> int:
        """Send everything again, and what was answered too; how many datagrams that were."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for datagrams in (self.to_receiver, self.to_sender, self.to_receiver):
                for data in datagrams:
                    self._upstream.sendto(data, self._target)
                    stranger.sendto(data, self._target)
        return 2 * (2 * len(self.to_receiver) + len(self.to_sender))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.stop()
        for each in (self._listener, self._upstream, self._wake, self._waker):
            each.close()
