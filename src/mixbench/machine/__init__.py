"""The machine that a run finds: devices, several ranks, shares of a GPU, signals."""
