"""Learning-rate schedules against torch.optim.lr_scheduler, stepped once per training step."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch.optim import lr_scheduler

from mixbench.config.library import conf_dir
from mixbench.schedule import SCHEDULES, constant, cosine, step
from mixbench.schema.knob import check
from mixbench.schema.schedule import OPTIONS

steps_per_epoch = st.integers(1, 7)


def torch_factors(steps: int, *make) -> list[float]:
    """Learning rates of `steps` steps under torch's schedulers `make[i](optimizer)`, from a rate of 1 on."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedulers = [m(optimizer) for m in make]
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return factors


def our_factors(schedule, epochs: int, per_epoch: int, **knobs) -> list[float]:
    return [schedule(i / per_epoch, epochs, **knobs) for i in range(epochs * per_epoch)]


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(2, 200), steps_per_epoch, st.sampled_from([0.1, 0.2, 0.5]), st.booleans())
def test_step_is_multisteplr(data, epochs, per_epoch, factor, as_fractions):
    """Oracle: MultiStepLR. Milestones given as fractions k/epochs mean the same as the epochs k."""
    drops = sorted(data.draw(st.sets(st.integers(1, epochs - 1), max_size=3)))
    milestones = [k / epochs for k in drops] if as_fractions else [float(k) for k in drops]
    ours = our_factors(step, epochs, per_epoch, milestones=milestones, factor=factor)
    in_steps = [k * per_epoch for k in drops]
    theirs = torch_factors(epochs * per_epoch, lambda o: lr_scheduler.MultiStepLR(o, in_steps, gamma=factor))
    assert ours == pytest.approx(theirs, rel=1e-9)


@given(st.integers(1, 5))
def test_the_warm_up_of_mixupes_code(per_epoch: int) -> None:
    """Oracle: adjust_learning_rate of oneHuster/MixupE, for gammas .01 .1 .1 and drops at 100 and 150 of 200 epochs:
    0.01 + 0.01 * epoch as far as epoch 10, the same for all steps of an epoch, then 0.1."""

    def adjusted(epoch: int) -> float:
        rate = 0.01 + epoch * (0.1 / 10) if epoch <= 10 else 0.1
        return rate * 0.1 ** sum(epoch >= drop for drop in (100, 150))

    knobs = {"warmup_epochs": 11, "warmup_start": 0.1, "warmup_end": 1.2, "warmup_by": "epoch"}
    ours = our_factors(step, 200, per_epoch, milestones=[0.5, 0.75], factor=0.1, **knobs)
    theirs = [adjusted(epoch) for epoch in range(200) for _ in range(per_epoch)]
    assert [0.1 * factor for factor in ours] == pytest.approx(theirs, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), steps_per_epoch, st.sampled_from([0.0, 0.001, 0.1, 1.0]))
def test_cosine_is_cosineannealinglr(epochs, per_epoch, final):
    """Oracle: CosineAnnealingLR over all steps, eta_min = final."""
    steps = epochs * per_epoch
    theirs = torch_factors(steps, lambda o: lr_scheduler.CosineAnnealingLR(o, steps, eta_min=final))
    assert our_factors(cosine, epochs, per_epoch, final=final) == pytest.approx(theirs, rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), steps_per_epoch, st.integers(1, 10), st.sampled_from([0.01, 0.1, 1.0]))
def test_warmup_is_linearlr(epochs, per_epoch, warmup, start):
    """Oracle: LinearLR; multiplied with MultiStepLR for `step`, also where a drop falls into the warm-up."""
    knobs = {"warmup_epochs": warmup, "warmup_start": start}
    steps, drop = epochs * per_epoch, epochs // 2

    def linear(optimizer):
        return lr_scheduler.LinearLR(optimizer, start, total_iters=warmup * per_epoch)

    theirs = torch_factors(steps, linear)
    assert our_factors(constant, epochs, per_epoch, **knobs) == pytest.approx(theirs, rel=1e-9)
    theirs = torch_factors(steps, linear, lambda o: lr_scheduler.MultiStepLR(o, [drop * per_epoch]))
    ours = our_factors(step, epochs, per_epoch, milestones=[drop], **knobs)
    assert ours == pytest.approx(theirs, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(5, 40), steps_per_epoch, st.integers(1, 4), st.sampled_from([0.01, 0.3]))
def test_cosine_after_warmup_is_sequentiallr(epochs, per_epoch, warmup, start):
    """Oracle: SequentialLR of LinearLR and a CosineAnnealingLR over the epochs that remain."""
    steps, ramp = epochs * per_epoch, warmup * per_epoch

    def sequence(optimizer):
        linear = lr_scheduler.LinearLR(optimizer, start, total_iters=ramp)
        annealing = lr_scheduler.CosineAnnealingLR(optimizer, steps - ramp, eta_min=0.001)
        return lr_scheduler.SequentialLR(optimizer, [linear, annealing], [ramp])

    ours = our_factors(cosine, epochs, per_epoch, final=0.001, warmup_epochs=warmup, warmup_start=start)
    assert ours == pytest.approx(torch_factors(steps, sequence), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("epochs", "drops"), [(100, (65, 85)), (200, (130, 170)), (500, (325, 425))])
def test_default_milestones_are_those_of_the_paper(epochs, drops):
    """Oracle: Li & Tang drop at 0.65 T and 0.85 T and train for T = 100, 200 and 500 epochs."""
    changes = [e for e in range(1, epochs) if not math.isclose(step(e, epochs), step(e - 1, epochs))]
    assert tuple(changes) == drops
    assert step(epochs - 1, epochs) == pytest.approx(0.01)


def test_a_fraction_never_drops_a_step_late():
    """Limiting case: rounding. 0.07 * 100 > 7 in floating point, and the drop still comes with epoch 7."""
    assert 0.07 * 100 > 7
    assert step(7.0, 100, milestones=[0.07]) == pytest.approx(0.1)
    assert step(7.0 - 1 / 390, 100, milestones=[0.07]) == 1


def test_knobs_defaults_and_limits_agree():
    """Oracle: the functions' own signatures; YAML values and knob names equal them and pass the schema."""
    assert set(SCHEDULES) == set(OPTIONS) == {p.stem for p in (conf_dir() / "schedule").glob("*.yaml")}
    for name, schedule in SCHEDULES.items():
        values = OmegaConf.load(conf_dir() / "schedule" / f"{name}.yaml")
        del values["defaults"]
        node = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(OPTIONS[name]), values))
        assert list(check(node)) == []
        parameters = inspect.signature(schedule).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(node).items() if k != "name"}
        assert given == defaults


def test_schedules_do_not_import_torch():
    """Oracle: sys.modules of a fresh interpreter."""
    code = "import sys, mixbench.schedule, mixbench.schema.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
