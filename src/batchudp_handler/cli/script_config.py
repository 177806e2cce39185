"""The settings of `batchudp-receive` that concern the process rather than its receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchudp_handler.control.place import AUTO
from batchudp_handler.engines import forwarder
from batchudp_handler.settings import (
    HOST,
    PATH,
    SWITCH,
    TEXT,
    choice,
    integer,
    optional,
    seconds,
    setting,
)

if TYPE_CHECKING:
    from batchudp_handler.receiver.worker import WorkerFactory

__all__ = ["ScriptConfig", "metrics_place", "new_worker"]

PROGRAM = "batchudp-receive"


@dataclass(frozen=True, slots=True)
class ScriptConfig:
    """What concerns the process rather than the receiver in it."""

    config: str | None = setting(
        None, optional(PATH), "TOML, JSON or YAML file with settings or a logging configuration"
    )
    stats_interval: float = setting(
        0.0,
        seconds(zero=True, low=0.01),
        "seconds between two reports of the counters on standard error; 0: never",
    )
    workers: int = setting(
        1,
        integer(1, 256, "processes"),
        "number of processes that receive on the same port; more than one needs Linux",
    )
    ready_file: str | None = setting(
        None, optional(PATH), "file that contains the address while the receiver listens"
    )
    forward: str | None = setting(
        None,
        optional(TEXT),
        "pass batches on instead of local logging: to an engine, nats://host:port/STREAM, or to a "
        "collector, otlp+http://host:port/v1/logs",
        secret=True,
    )
    source: str | None = setting(
        None,
        optional(TEXT),
        "take batches from an engine, nats://host:port/STREAM, instead of a socket",
        variable="FROM",
        flags="--from",
        secret=True,
    )
    create_stream: bool = setting(False, SWITCH, "create the engine's stream if there is none")
    summary: str = setting(
        "text", choice("text", "json"), "format of the counters on standard error"
    )
    control_socket: str = setting(
        AUTO,
        PATH,
        "unix socket for top, tap and health; auto: in the runtime directory, if any; off: none",
    )
    metrics_port: int | None = setting(
        None,
        optional(integer(0, 65_535, metavar="PORT")),
        "port of the Prometheus metrics page; 0: any free port; needs the extra prometheus",
    )
    metrics_host: str = setting("127.0.0.1", HOST, "address of the Prometheus metrics page")


def metrics_place(script: ScriptConfig) -> tuple[str, int] | None:
    """Return host and port of the page for Prometheus; None: there is none."""
    return None if script.metrics_port is None else (script.metrics_host, script.metrics_port)


def new_worker(script: ScriptConfig) -> WorkerFactory | None:
    """Return what makes the worker that passes batches on; None: they go to local logging."""
    if script.forward is None:
        return None
    return forwarder(script.forward, create_stream=script.create_stream)
