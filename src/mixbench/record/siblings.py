"""Runs that differ from another one in the number of epochs alone. Each is a run of its own, trained from the start."""

from __future__ import annotations

import os

from mixbench.config.identity import id_of, run_dir, scientific
from mixbench.record.run import SavedRun
from mixbench.schema.train import Train


def shorter(config: Train) -> SavedRun | None:
    """The finished run of the same config with fewer epochs, of several the longest; None where there is none.

    The ids that such runs would have are looked for, so that no record is read but the one.
    """
    directory = run_dir(config)
    try:
        there = {entry.name for entry in os.scandir(directory.parent)} - {directory.name}
    except OSError:
        return None
    values = scientific(config)
    for epochs in range(config.epochs - 1, 0, -1) if there else ():
        id = id_of({**values, "epochs": epochs})
        if id in there and (run := SavedRun(directory.with_name(id))).state == "finished":
            return run
    return None
