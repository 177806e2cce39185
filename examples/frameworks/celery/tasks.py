"""Tasks that log: `celery --app tasks worker --concurrency 4`."""

import logging
import logging.config
import os
from pathlib import Path

from celery import Celery
from celery.signals import setup_logging

log = logging.getLogger("shop")

# files instead of a message broker, so that the example needs nothing else
folder = Path(os.environ.get("BROKER_FOLDER", "broker"))
for name in ("queue", "control"):
    (folder / name).mkdir(parents=True, exist_ok=True)

app = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.1,
    },
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


@setup_logging.connect
def configure_logging(**_):
    """Ship everything; with this signal Celery leaves logging alone.

    It runs in the parent, before the pool is forked. Each child gets a stream of its own.
    """
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


@app.task
def order(number):
    """Handle an order."""
    log.info("order %d", number)
