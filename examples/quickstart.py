"""How does a program ship its records?

python examples/quickstart.py [HOST:PORT]
"""

import logging
import sys

from batchudp_handler import BatchUDPHandler

target = sys.argv[1] if len(sys.argv) > 1 else "localhost:9999"
logging.basicConfig(level=logging.INFO, handlers=[BatchUDPHandler(target)])
log = logging.getLogger("shop.orders")

log.info("order %s paid: %.2f", "A-17", 12.5)
log.warning("stock is low", extra={"item": "tea", "left": 3})
try:
    1 / 0  # noqa: B018 - it is the point
except ZeroDivisionError:
    log.exception("no discount for order %s", "A-18")
