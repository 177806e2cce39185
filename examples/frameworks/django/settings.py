"""The settings of a small shop; the interesting one is LOGGING."""

import os

SECRET_KEY = "an example has no secrets"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
WSGI_APPLICATION = "wsgi.application"
USE_TZ = True

LOGGING = {
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
    # Django logs each failed request here, with the request as an extra attribute
    "loggers": {"django": {"level": "INFO", "handlers": [], "propagate": True}},
}
