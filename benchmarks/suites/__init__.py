"""Which questions are answered? One module each; `run` gives rows for the JSON file."""
