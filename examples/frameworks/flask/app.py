"""A shop made with Flask: `gunicorn --workers 4 app:app`, or `flask run`."""

import logging.config
import os

from flask import Flask, request

# before the app is made, so that Flask finds a configured root and adds no handler of its own
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

app = Flask("shop")


@app.get("/order/<int:number>")
def order(number):
    """Take an order; number 0 fails."""
    app.logger.info("order %d", number, extra={"client": request.remote_addr})
    if number == 0:
        raise RuntimeError("nobody orders nothing")
    return "thank you\n"
