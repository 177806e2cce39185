"""Targets for a fuzzer: whatever reads what others wrote. `python fuzz/run.py --help`."""
