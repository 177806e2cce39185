"""The time that importing takes.

Processor time of one import statement in a fresh interpreter, beside the standard library's
modules without which no such handler can be, and beside every module that ours brings along.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from lab import MeasurementFailedError, interleaved, medians

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab import Plan, Row

NEEDED = "logging, socket, json, zlib"
TIMED = """
import sys, time
before = time.process_time()
try:
    import {}
except ImportError as error:
    sys.exit(str(error))
print(time.process_time() - before)
"""
BROUGHT = """
import sys
before = set(sys.modules)
import batchudp_handler
new = [name for name in sys.modules if name not in before]
print(", ".join(n for n in new if n.partition(".")[0] in sys.stdlib_module_names))
"""


def run(plan: Plan) -> list[Row]:
    """Each statement."""
    brought = _python(BROUGHT)
    statements = {
        NEEDED: NEEDED,
        "logging.handlers": "logging.handlers",
        "every module of the standard library that batchudp_handler imports": brought,
        "batchudp_handler": "batchudp_handler",
        "batchudp_handler, batchudp_handler.receiver": (
            "batchudp_handler, batchudp_handler.receiver"
        ),
        "logstash_async.handler": "logstash_async.handler",
        "graypy": "graypy",
        "pygelf": "pygelf",
        "fluent.asynchandler": "fluent.asynchandler",
        "OpenTelemetry's SDK, exporter and handler": (
            "opentelemetry.sdk._logs.export, "
            "opentelemetry.exporter.otlp.proto.http._log_exporter, "
            "opentelemetry.instrumentation.logging.handler"
        ),
    }

    def one(name: str) -> Mapping[str, float]:
        return {"cpu": 1e3 * float(_python(TIMED.format(statements[name])))}

    seen = interleaved(plan.rounds_of(7, 21), list(statements), one)
    needed = medians(seen[NEEDED])["cpu"]
    rows: list[Row] = []
    for name, figures in seen.items():
        cpu = medians(figures)["cpu"]
        rows.append({"imports": name, "cpu": round(cpu, 2), "ratio": round(cpu / needed, 2)})
    return rows


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MeasurementFailedError(done.stderr.strip())
    return done.stdout.strip()
