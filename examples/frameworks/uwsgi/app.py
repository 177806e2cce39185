"""A shop behind uWSGI: `uwsgi --ini uwsgi.ini --http-socket :8000`."""

import logging
import logging.config
import os

# runs once, in the master: uWSGI loads the application and then forks
logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "batchudp": {
                "class": "batchudp_handler.BatchUDPHandler",
                "host": os.environ.get("BATCHUDP_TARGET_HOST", "localhost:9999"),
                "delivery": "acknowledged",
            },
        },
        "root": {"level": "INFO", "handlers": ["batchudp"]},
    }
)

log = logging.getLogger("shop")


def application(environ, start_response):
    """Answer `/order/<number>`."""
    number = environ["PATH_INFO"].rpartition("/")[2]
    log.info("order %s", number, extra={"client": environ["REMOTE_ADDR"]})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"thank you\n"]
