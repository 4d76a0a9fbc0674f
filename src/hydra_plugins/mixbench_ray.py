"""`hydra/launcher=ray`: every run a task of a Ray cluster, or of one that is started on this machine.

Of our own because hydra-ray-launcher 1.2.2 wants cloudpickle<3, composes all runs before the first one starts, and
leaves its tasks alone when it is stopped.
"""

# Hydra executes plugins without importing them, and a dataclass with postponed annotations needs the import.
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from mixbench.errors import ConfigError


@dataclass
class RayLauncherConf:
    """Knobs of the launcher. `address` null: $RAY_ADDRESS, else a cluster of this machine that ends with the sweep.

    `num_cpus` and `num_gpus` are what such a cluster has (null: what the machine has); `cpus_per_run` and
    `gpus_per_run` what a run takes of a cluster (null: one GPU where there are any; 0.5 lets two runs share one).
    """

    _target_: str = "hydra_plugins.mixbench_ray.RayLauncher"
    address: str | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    cpus_per_run: float = 1.0
    gpus_per_run: float | None = None


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="mixbench")


class RayLauncher(Launcher):
    """Runs each list of overrides as a Ray task in a fresh process; Ray starts a task again whose process dies."""

    let_save: Callable[[], None] | None = None  # what to do on a signal, when no further job will begin

    def __init__(
        self,
        address: str | None,
        num_cpus: int | None,
        num_gpus: int | None,
        cpus_per_run: float,
        gpus_per_run: float | None,
    ) -> None:
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus
        self.cpus_per_run, self.gpus_per_run = cpus_per_run, gpus_per_run

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what every job needs."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The jobs' exit statuses as return values, 1 for a job that Ray has lost."""
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("hydra/launcher=ray: is not installed; pip install 'mixbench[ray]'.") from None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        ray.init(
            address=self.address,
            include_dashboard=None if self.address else False,
            logging_level=logging.WARNING,
            num_cpus=self.num_cpus,
            num_gpus=self.num_gpus,
        )
        for number, handler in handlers.items():  # Ray has put its own there, which abort
            signal.signal(number, handler)
        gpus = self.gpus_per_run
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
        # A fresh process for each run: CUDA chooses its device once in a process.
        job = ray.remote(num_cpus=self.cpus_per_run, num_gpus=gpus, max_calls=1)(_job)
        shared = ray.put((self.hydra_context, self.config, self.task_function, Singleton.get_state()))
        environment = {key: value for key, value in os.environ.items() if key.startswith("MIXBENCH_")}
        tasks: list[Any] = []
        try:
            tasks = [
                job.remote(shared, list(overrides), number, Path.cwd(), environment)
                for number, overrides in enumerate(job_overrides, initial_job_idx)
            ]
            while len(ray.wait(tasks, num_returns=len(tasks), timeout=0)[1]):
                time.sleep(0.2)  # here, and not inside of Ray, a signal's exception gets through
            return [JobReturn(status=JobStatus.COMPLETED, _return_value=_status(task)) for task in tasks]
        except BaseException:
            for task in tasks:
                ray.cancel(task)
            if self.let_save is not None:
                self.let_save()
            raise
        finally:
            ray.shutdown()


def _status(task: Any) -> int:
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        print(f"a run was lost: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1


def _job(
    shared: tuple[HydraContext, DictConfig, TaskFunction, dict],
    overrides: list[str],
    number: int,
    folder: Path,
    environment: dict[str, str],
) -> int:
    """In a worker of Ray: one run as Hydra has it, in the folder and with the variables of the sweep's process."""
    context, config, task_function, singletons = shared
    os.chdir(folder)
    os.environ.update(environment)
    setup_globals()
    Singleton.set_state(singletons)
    config = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    try:
        done = run_job(
            hydra_context=context,
            config=config,
            task_function=task_function,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except SystemExit as end:  # Ray would take it for a lost process, and start the task again
        return int(end.code or 0)
    return done.return_value
