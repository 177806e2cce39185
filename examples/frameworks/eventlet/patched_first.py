"""The usual way: patch before anything else is imported."""

import eventlet

eventlet.monkey_patch()

import logging
import os

from batchudp_handler import BatchUDPHandler

handler = BatchUDPHandler(
    os.environ.get("BATCHUDP_TARGET_HOST", "localhost:9999"), delivery="acknowledged"
)
logging.basicConfig(level=logging.INFO, handlers=[handler])
log = logging.getLogger("shop")


def customer(first):
    """Order fifty things."""
    for number in range(first, first + 50):
        log.info("order %d", number)
        eventlet.sleep(0)


customers = [eventlet.spawn(customer, first) for first in range(0, 200, 50)]
for each in customers:
    each.wait()
