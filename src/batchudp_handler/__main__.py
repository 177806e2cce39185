"""The command `python -m batchudp_handler`: `batchudp-receive`, or with `send` `batchudp-send`."""

from __future__ import annotations

import sys

from batchudp_handler.cli import receive, send


def main() -> int:
    """Run the script that the first argument names."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["send"]:
        return send.main(arguments[1:])
    return receive.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
