"""A shop behind uvicorn: `uvicorn app:application --workers 2 --log-config logging.json`."""

import logging
import os

log = logging.getLogger("shop")

LOG_TARGET = os.environ.get("BATCHUDP_TARGET_HOST", "localhost:9999")
"""Where the records go; logging.json refers to it as `ext://app.LOG_TARGET`."""


async def application(scope, receive, send):
    """Answer `/order/<number>`."""
    if scope["type"] != "http":
        return
    log.info("order %s", scope["path"].rpartition("/")[2], extra={"client": scope["client"][0]})
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"thank you\n"})
