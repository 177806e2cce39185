"""Ship what tests log, from every worker of `pytest -n 4`."""

import logging
import os

from batchudp_handler import BatchUDPHandler


def pytest_configure(config):
    """Runs in the controller and once in each worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    handler = BatchUDPHandler(
        os.environ.get("BATCHUDP_TARGET_HOST", "localhost:9999"),
        delivery="acknowledged",
        static_fields={"worker": worker},
    )
    logging.getLogger().addHandler(handler)
    logging.getLogger("shop").setLevel(logging.INFO)
    config.add_cleanup(handler.close)
