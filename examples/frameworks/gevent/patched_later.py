"""Too late, as it happens: records were shipped before the patch. It works all the same."""

import logging
import os

import gevent
from gevent import monkey

from batchudp_handler import BatchUDPHandler

handler = BatchUDPHandler(
    os.environ.get("BATCHUDP_TARGET_HOST", "localhost:9999"), delivery="acknowledged"
)
logging.basicConfig(level=logging.INFO, handlers=[handler])
log = logging.getLogger("shop")

log.info("order %d", 200)
handler.flush()

monkey.patch_all()


def customer(first):
    """Order fifty things."""
    for number in range(first, first + 50):
        log.info("order %d", number)
        gevent.sleep(0)


gevent.joinall([gevent.spawn(customer, first) for first in range(0, 200, 50)])
