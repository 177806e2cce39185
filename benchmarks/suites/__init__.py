"""The questions that are answered, one module each; `run` gives rows for the JSON file."""
