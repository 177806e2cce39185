"""The proxy as a process: `python -m batchudp_handler.testing.faultproxy --help`.

Standard output carries two lines: the address once it listens, the counters as JSON at the end.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from batchudp_handler.testing.faultproxy.link import Faults
from batchudp_handler.testing.faultproxy.proxy import FaultProxy
from batchudp_handler.testing.faultproxy.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE_ERROR = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it exits, as its parent
        self.print_usage(sys.stderr)
        self.exit(_USAGE_ERROR, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the proxy until SIGINT, SIGTERM or the end of `--run-time`."""
    parser = _make_parser()
    options = parser.parse_args(argv)
    try:
        proxy = FaultProxy(options.target, _scenario(options), listen=options.listen)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: proxy.shutdown())
    host, port = proxy.address
    _say(f"listening on {host}:{port}")
    if options.run_time is not None:
        timer = threading.Timer(options.run_time, proxy.shutdown)
        timer.daemon = True
        timer.start()
    proxy.serve_forever()
    _say(json.dumps(proxy.counters()))
    proxy.close()
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m batchudp_handler.testing.faultproxy",
        description="A UDP proxy that loses, delays, doubles, reorders and damages datagrams.",
        epilog="FAULTS is name=value[,name=value...], for instance loss=0.3,reorder=0.1; the "
        "names are " + ", ".join(Faults.__dataclass_fields__) + ".",
    )
    parser.add_argument("--target", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", type=_address, default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="a script, TOML or JSON")
    parser.add_argument("--both", type=_faults, default={}, metavar="FAULTS")
    parser.add_argument("--to-receiver", type=_faults, default={}, metavar="FAULTS")
    parser.add_argument("--to-sender", type=_faults, default={}, metavar="FAULTS")
    parser.add_argument("--rebind-interval", type=float, metavar="SECONDS")
    parser.add_argument("--seed", type=int, help="default: the scenario's, or 0")
    parser.add_argument("--run-time", type=float, metavar="SECONDS")
    return parser


def _scenario(options: argparse.Namespace) -> Scenario:
    """Return the scenario that the options describe: a file, or one phase that lasts."""
    inline = options.both or options.to_receiver or options.to_sender or options.rebind_interval
    if options.scenario is None:
        phase = {"to_receiver": options.to_receiver, "to_sender": options.to_sender}
        return Scenario.from_mapping(
            {
                "seed": options.seed or 0,
                "phases": [
                    {**phase, "both": options.both, "rebind_interval": options.rebind_interval}
                ],
            }
        )
    if inline:
        raise ValueError("--scenario says it all; leave the other faults out")
    scenario = Scenario.load(options.scenario)
    return scenario if options.seed is None else Scenario(scenario.phases, options.seed)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _faults(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(equals for _, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value[,name=value...]")
    return {name.strip(): value.strip() for name, _, value in pairs}


if __name__ == "__main__":
    raise SystemExit(main())
