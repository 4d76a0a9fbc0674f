"""Trains the runs of a table that are not finished: one after another, side by side, or through a Hydra launcher."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mixbench.papers.cells import Planned, overrides


def unfinished(planned: Sequence[Planned]) -> list[Planned]:
    """The runs that there is something to do for, each once."""
    waiting = {run.directory: run for run in planned if run.state not in ("finished", "unavailable")}
    return list(waiting.values())


def train(planned: Sequence[Planned], jobs: int = 1) -> None:
    """Train what is unfinished, `jobs` processes at a time, each a `mixbench train` of its own.

    A run that fails says so in its record and on standard error; the others go on.
    """
    waiting = unfinished(planned)

    def one(run: Planned) -> None:
        command = [sys.executable, "-m", "mixbench", "train", *overrides(run), "progress=false"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL if jobs > 1 else None)
        cell = f"{run.cell.row}, {run.cell.column}, seed {run.cell.seed}"
        if done.returncode in (130, 143):  # Ctrl-C or SIGTERM: what is left is not wanted either
            raise KeyboardInterrupt
        print(f"{'done' if done.returncode == 0 else 'FAILED'}: {cell}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, waiting))


def launch(planned: Sequence[Planned], launcher: str) -> None:
    """Hand what is unfinished to the Hydra launcher called `launcher` (basic, joblib, submitit_slurm, ray, ...).

    The launcher gets all runs at once, as a list of override lists, so a cluster can work on all of them.
    """
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    from mixbench.commands.train import cell
    from mixbench.config import CONFIG_NAME, conf_dir, register

    waiting = unfinished(planned)
    if not waiting:
        return
    register()
    try:
        hydra = Hydra.create_main_hydra2("mixbench", create_config_search_path(str(conf_dir())))
        config = hydra.compose_config(CONFIG_NAME, [f"hydra/launcher={launcher}"], RunMode.MULTIRUN)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
        plugin = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=context, task_function=cell
        )
        plugin.launch([overrides(run) for run in waiting], initial_job_idx=0)
    finally:
        GlobalHydra.instance().clear()
