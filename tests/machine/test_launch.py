"""What is one launch, so that force=true starts a run over once for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from whole_runs import RUN, assert_same, result, stopped_after

from mixbench.machine.launch import VARIABLE, again, launch, one_launch


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """In no launch, and in no job."""
    for variable in (VARIABLE, "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(variable, raising=False)


def test_what_is_the_same_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: a command, a sweep's processes, a job of SLURM before and after it was put back, another job."""
    assert not again(launch())
    with one_launch():
        sweep = launch()
        with one_launch():
            assert again(sweep)
    with one_launch():
        assert not again(sweep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    job = launch()
    assert not again(job)  # the second command of an allocation
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert again(job)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert not again(job)


@pytest.mark.fault("signals")
def test_a_forced_run_goes_on_when_its_job_comes_back(
    mixbench, workplace: Path, reference: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command twice in one job: the second goes on, bit for bit as never stopped. Another job starts over."""
    command = ("train", *RUN, "force=true", "checkpoint_seconds=0")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with stopped_after(1):
        mixbench(*command)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with stopped_after(2):
        mixbench(*command)
    done = mixbench(*command)
    assert "resume   after epoch 2" in done.out
    assert_same(result(workplace / "outputs"), reference)
    assert mixbench(*command).out.startswith("finished")
    assert len(list(workplace.rglob("summary.json"))) == 1
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    with stopped_after(0):
        mixbench(*command)
    assert len(list(workplace.rglob("*.old1/summary.json"))) == 1
