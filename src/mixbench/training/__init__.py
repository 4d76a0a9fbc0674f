"""One run from its config to its record: building, checkpoints, what happens to it."""
