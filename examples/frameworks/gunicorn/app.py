"""A shop behind gunicorn: `gunicorn --config gunicorn_conf.py app`."""

import logging

log = logging.getLogger("shop")


def application(environ, start_response):
    """Answer `/order/<number>`."""
    number = environ["PATH_INFO"].rpartition("/")[2]
    log.info("order %s", number, extra={"client": environ["REMOTE_ADDR"]})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"thank you\n"]
