"""Requests to a collector, answered as the OTLP specification says."""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchudp_handler.engines.otlp_target import OtlpTarget

__all__ = ["Answer", "NoAnswer", "OtlpClient", "Refused"]

RETRYABLE = frozenset({429, 502, 503, 504})
"""What the specification lets a client try again; all other errors are final."""
LARGEST_ANSWER = 64 * 1024
LONGEST_DELAY = 60.0
"""Seconds that a collector may ask for."""


class NoAnswer(Exception):
    """The collector did not take the request, and may take it later.

    Args:
        cause: What happened, in words without a secret.
        delay: Seconds that the collector asks to wait; None: it does not say.
        may_have_arrived: Whether it may have taken the request all the same.
    """

    def __init__(self, cause: str, *, delay: float | None = None, may_have_arrived: bool) -> None:
        super().__init__(cause)
        self.delay = delay
        self.may_have_arrived = may_have_arrived


class Refused(Exception):
    """The collector refused records for good; the text says how many, and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a collector made of a request."""

    is_accepted: bool
    rejected: int = 0
    """Records that it refused of an accepted request."""
    text: str = ""
    """Why, in its own words or as a status."""


class OtlpClient:
    """One connection to a collector, which is made when it is needed."""

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._connection: http.client.HTTPConnection | None = None
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "batchudp-receive",
            **target.headers,
        }
        if target.compression == "gzip":
            self._headers["Content-Encoding"] = "gzip"

    def export(self, body: bytes) -> Answer:
        """Send one request and return the collector's answer.

        Raises:
            NoAnswer: There was none, or one that asks to come again.
        """
        if self._target.compression == "gzip":
            body = gzip.compress(body, 6, mtime=0)
        connection = self._connected()
        try:
            connection.request("POST", self._target.path, body, self._headers)
            response = connection.getresponse()
            content = response.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(_words(error), may_have_arrived=True) from None
        if not response.isclosed():  # more than anybody has to say
            self.close()
        return self._judged(response, content)

    def close(self) -> None:
        """Drop the connection; the next request makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            target = self._target
            kind = http.client.HTTPSConnection if target.is_tls else http.client.HTTPConnection
            connection = kind(target.host, target.port, timeout=target.timeout)
            try:
                connection.connect()
            except OSError as error:
                raise NoAnswer(_words(error), may_have_arrived=False) from None
            self._connection = connection
        return self._connection

    def _judged(self, response: http.client.HTTPResponse, content: bytes) -> Answer:
        status = f"status {response.status}"
        if response.status in RETRYABLE:
            delay = _delay(response.getheader("Retry-After"))
            raise NoAnswer(status, delay=delay, may_have_arrived=False)
        if not 200 <= response.status < 300:
            return Answer(is_accepted=False, text=status)
        return _partial_success(content)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _delay(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which has a number or a date."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_DELAY) if seconds == seconds else None


def _partial_success(content: bytes) -> Answer:
    """Read how many records were refused; an answer without a word about it took all."""
    try:
        told = json.loads(content or b"{}")
        partial = (told.get("partialSuccess") if isinstance(told, dict) else None) or {}
        return Answer(
            is_accepted=True,
            rejected=max(0, int(partial.get("rejectedLogRecords") or 0)),
            text=str(partial.get("errorMessage") or ""),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Answer(is_accepted=True)
