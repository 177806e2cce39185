"""The error of a datagram that did not leave, and what it means to the sender."""

from __future__ import annotations

import errno

from batchudp_handler.core.send.retry import SendFailure

__all__ = ["SendError"]

FAILURES = {
    errno.EAGAIN: SendFailure.WOULD_BLOCK,
    errno.EWOULDBLOCK: SendFailure.WOULD_BLOCK,  # on Windows, not the same
    errno.ENOBUFS: SendFailure.WOULD_BLOCK,
    errno.ENOMEM: SendFailure.WOULD_BLOCK,
    errno.ECONNREFUSED: SendFailure.REFUSED,
    errno.ECONNRESET: SendFailure.REFUSED,  # as Windows says it
    errno.EMSGSIZE: SendFailure.TOO_BIG,
}
"""What the core has to know about an errno; all others make the receiver unreachable."""


class SendError(Exception):
    """A datagram did not leave."""

    def __init__(self, code: int, *, is_local: bool = False) -> None:
        super().__init__(errno.errorcode.get(code, str(code)))
        self.failure = FAILURES.get(code, SendFailure.UNREACHABLE)
        if is_local and self.failure is SendFailure.REFUSED:
            # a Unix socket refuses this datagram; the one before was taken
            self.failure = SendFailure.UNREACHABLE
        self.code = code
        self.is_until_writable = code in {errno.EAGAIN, errno.EWOULDBLOCK}
        """The socket's own buffer is full, and the kernel will say when it no longer is."""
