"""A program to be tested: it logs what it sells."""

import logging

log = logging.getLogger("shop")


def sell(item: str, left: int) -> None:
    """Sell one of an item of which so many are left."""
    log.info("sold: %s", item, extra={"left": left - 1})
    if left == 1:
        log.error("out of stock: %s", item)
