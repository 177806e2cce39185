"""Real processes, a real network with faults, and real deaths."""
