"""What a fresh interpreter runs for one measurement.

    python benchmarks/child.py suites.cost:measure < job.json

The function gets the job's fields as keywords; what it returns is printed as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    """Call the function that the command line names."""
    module, _, name = sys.argv[1].partition(":")
    job = json.load(sys.stdin)
    result = getattr(import_module(module), name)(**job)
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
