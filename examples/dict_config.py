"""A program that configures logging by a dictionary ships its records.

python examples/dict_config.py [HOST:PORT]
"""

import argparse
import logging
import logging.config
from typing import Any

CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "ship": {
            "class": "batchudp_handler.BatchUDPHandler",
            "host": "localhost:9999",
            "level": "DEBUG",
            "batch_size": 100,  # a busy service: fuller datagrams
            "flush_interval": 1.0,  # but nothing waits longer than a second
            "flush_level": "ERROR",  # and errors do not wait at all
            "capacity": 50_000,  # what may wait, if the flusher cannot keep up
            "overflow": "drop_oldest",
            "static_fields": {"service": "shop", "version": "1.4.2"},
        },
        # the console keeps what people want to see here
        "console": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "line"},
    },
    "root": {"level": "DEBUG", "handlers": ["ship", "console"]},
}


def main() -> None:
    """Configure, log, and let `logging` close the handler at the end."""
    parser = argparse.ArgumentParser(description="Ship 251 records, configured by a dictionary.")
    parser.add_argument("receiver", nargs="?", default="localhost:9999", metavar="HOST:PORT")
    CONFIG["handlers"]["ship"]["host"] = parser.parse_args().receiver
    logging.config.dictConfig(CONFIG)
    log = logging.getLogger("shop.checkout")
    for number in range(250):
        log.debug("basket %d priced in %d us", number, 180 + number)
    log.warning("payment service is slow: %.1f s", 2.75)


if __name__ == "__main__":
    main()
