"""Trains the runs of a table that are not finished: one after another, side by side, or through a Hydra launcher."""

from __future__ import annotations

from collections.abc import Sequence

from mixbench.papers.cells import Planned, overrides
from mixbench.together import slots, train_together


def unfinished(planned: Sequence[Planned]) -> list[Planned]:
    """The runs that there is something to do for, each once."""
    waiting = {run.directory: run for run in planned if run.state not in ("finished", "unavailable")}
    return list(waiting.values())


def train(planned: Sequence[Planned], jobs: int | None = None) -> None:
    """Train what is unfinished, `jobs` processes at a time, each a `mixbench train` of its own.

    Without `jobs`, as many as `together.slots` finds room for. A run that fails says so in its record and on standard
    error; the others go on. Raises Interrupted when a signal ends it.
    """
    waiting = unfinished(planned)
    if not waiting:
        return
    places, sentence = slots(jobs, waiting[0].config.device if waiting[0].config else "auto")
    if sentence:
        print(sentence, flush=True)

    def done(i: int, status: int) -> None:
        cell = waiting[i].cell
        outcome = "done" if status == 0 else "FAILED"
        print(f"{outcome}: {cell.row}, {cell.column}, seed {cell.seed}", flush=True)

    train_together([overrides(run) for run in waiting], places, done)


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
