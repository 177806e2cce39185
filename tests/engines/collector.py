"""A collector for tests: a real HTTP server that answers as it is told, and keeps what it took.

    python tests/engines/collector.py PORT FILE

As a process it appends the text of each record to a file before it answers, and may be killed.
"""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Reply:
    """What the collector does with one request."""

    status: int = 200
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    takes: bool = True
    """Whether the records count as stored."""
    hangs_up: bool = False
    """Whether the connection ends without an answer."""


class Collector:
    """An HTTP server on a free port of the loopback address.

    Args:
        reply: Says what to do, by the number of the request and its bodies of log records.
        port: 0 takes a free one.
    """

    def __init__(
        self, reply: Callable[[int, list[str]], Reply] = lambda _n, _texts: Reply(), port: int = 0
    ) -> None:
        self._reply = reply
        self._lock = threading.Lock()
        self.requests: list[dict[str, str]] = []
        """The headers of each request."""
        self.paths: list[str] = []
        self.stored: list[tuple[str | None, str]] = []
        """Uid and text of each record that was taken."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """What `--forward` is given."""
        return f"otlp+http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def texts(self) -> list[str]:
        """The bodies of the records that were taken."""
        with self._lock:
            return [text for _, text in self.stored]

    def close(self) -> None:
        """End the server."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        found = records_of(json.loads(body))
        with self._lock:
            number = len(self.requests)
            self.requests.append(dict(request.headers.items()))
            self.paths.append(request.path)
        reply = self._reply(number, [text for _, text in found])
        if reply.takes and reply.status == 200:
            with self._lock:
                self.stored += found
        if reply.hangs_up:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        request.send_response(reply.status)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(reply.body)))
        request.end_headers()
        request.wfile.write(reply.body.encode())


def records_of(request: dict[str, Any]) -> list[tuple[str | None, str]]:
    """Return uid and text of each record of a request, in its order."""
    return [
        (uid_of(record), record["body"]["stringValue"])
        for resource in request["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def uid_of(record: dict[str, Any]) -> str | None:
    for each in record["attributes"]:
        if each["key"] == "log.record.uid":
            return str(each["value"]["stringValue"])
    return None


def main(port: str, file: str) -> None:
    """Serve until killed."""
    with Path(file).open("a", encoding="utf-8") as stored:

        def keep(_number: int, texts: list[str]) -> Reply:
            # a former life may have left half a line
            stored.write("\n" + "".join(f"{text}\n" for text in texts))
            stored.flush()
            return Reply()

        Collector(keep, int(port))
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
