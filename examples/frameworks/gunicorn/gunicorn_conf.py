"""gunicorn sets up logging in the master; every worker that it forks gets a stream of its own."""

import logging
import os

workers = 4
accesslog = "-"  # its requests, too; with `logconfig_dict` they go where the root's records go

logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "batchudp": {
            "class": "batchudp_handler.BatchUDPHandler",
            "host": os.environ.get("BATCHUDP_TARGET_HOST", "localhost:9999"),
            "delivery": "acknowledged",
            "flush_interval": 0.5,
            "drain_on_sigterm": True,
        },
    },
    "root": {"level": "INFO", "handlers": ["batchudp"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "propagate": True},
        "gunicorn.access": {"level": "INFO", "propagate": True},
    },
}


def post_worker_init(worker):
    """Log that a worker is ready."""
    logging.getLogger("shop").info("worker %d begins", worker.pid)


def worker_exit(server, worker):
    """Log the last words of a worker; they arrive."""
    logging.getLogger("shop").info("worker %d ends", worker.pid)
