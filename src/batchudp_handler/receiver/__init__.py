"""The receiving side: a socket, a reader, a worker, and the way into local logging."""

from __future__ import annotations

from batchudp_handler.receiver.server import BatchUDPReceiver

__all__ = ["BatchUDPReceiver"]
