"""Tools that want an exception itself, behind a receiver with `restore_exceptions`.

Each is the real package with a local end. It shows type, message and the original traceback.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from batchudp_handler import BatchUDPHandler, BatchUDPReceiver
from tests.support import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEAR, FAR = "exceptions.near", "far.exceptions.near"


class PaymentError(Exception):
    """Not known to the far side by its class."""


def fail() -> None:
    try:
        raise KeyError("card")
    except KeyError as error:
        raise PaymentError("no card on file") from error


@pytest.fixture
def far_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(FAR)
    logger.propagate = False
    yield logger
    logger.handlers.clear()


def ship_failure(far_logger: logging.Logger, has_arrived: Callable[[], object]) -> None:
    """Log an exception at the near side, and wait until the far side's handler has it."""
    near = logging.getLogger(NEAR)
    near.propagate = False
    with BatchUDPReceiver(
        "127.0.0.1", 0, logger_prefix="far.", restore_exceptions=True
    ) as receiver:
        handler = BatchUDPHandler(*receiver.address[:2], delivery="acknowledged")
        near.addHandler(handler)
        try:
            fail()
        except PaymentError:
            near.exception("payment failed", extra={"order": 7})
        near.removeHandler(handler)
        handler.close()
        wait_until(has_arrived)
    assert far_logger.handlers


def test_sentry(far_logger: logging.Logger) -> None:
    """An event with the exception and its cause."""
    sentry_sdk = pytest.importorskip("sentry_sdk")
    transport = pytest.importorskip("sentry_sdk.transport")
    integration = pytest.importorskip("sentry_sdk.integrations.logging")

    class Keep(transport.Transport):  # type: ignore[misc, name-defined]  # known when it runs
        def capture_envelope(self, envelope: Any) -> None:
            events.extend(item.get_event() for item in envelope.items if item.get_event())

    events: list[Any] = []
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Keep, default_integrations=False)
    far_logger.addHandler(integration.EventHandler(level=logging.ERROR))
    try:
        ship_failure(far_logger, lambda: events)
    finally:
        sentry_sdk.init()
    values = events[0]["exception"]["values"]
    told = {value["type"]: (value["module"], value["value"]) for value in values}
    assert told["PaymentError"] == (__name__, "no card on file")
    assert told["KeyError"][1] == "'card'"
    assert "in fail" in told["RemoteTraceback"][1]


@pytest.mark.filterwarnings("ignore")
def test_django_admin_email(far_logger: logging.Logger) -> None:
    """The report that admins get."""
    conf = pytest.importorskip("django.conf")
    if not conf.settings.configured:
        conf.settings.configure()
    conf.settings.SECRET_KEY = "of this test"  # another test may have configured without one
    pytest.importorskip("django").setup()
    mail = pytest.importorskip("django.core.mail")
    override_settings = pytest.importorskip("django.test.utils").override_settings
    mail.outbox = []
    with override_settings(
        ADMINS=[("Admin", "admin@example.com")],  # as every version takes it
        EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
        DEBUG=False,
    ):
        far_logger.addHandler(
            pytest.importorskip("django.utils.log").AdminEmailHandler(include_html=True)
        )
        ship_failure(far_logger, lambda: mail.outbox)
    body = mail.outbox[0].body
    assert "PaymentError" in body
    assert "no card on file" in body
    assert "in fail" in body


@pytest.mark.filterwarnings("ignore")
def test_opentelemetry(far_logger: logging.Logger) -> None:
    """A log record with the semantic attributes of an exception."""
    logs = pytest.importorskip("opentelemetry.sdk._logs")
    export = pytest.importorskip("opentelemetry.sdk._logs.export")
    exporter = export.InMemoryLogExporter()
    provider = logs.LoggerProvider()
    provider.add_log_record_processor(export.SimpleLogRecordProcessor(exporter))
    far_logger.addHandler(logs.LoggingHandler(logger_provider=provider))
    ship_failure(far_logger, exporter.get_finished_logs)
    attributes = exporter.get_finished_logs()[0].log_record.attributes
    assert attributes["exception.type"] == "PaymentError"
    assert attributes["exception.message"] == "no card on file"
    assert "in fail" in attributes["exception.stacktrace"]
    assert attributes["order"] == 7
