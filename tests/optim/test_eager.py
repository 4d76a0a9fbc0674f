"""Optimizers without the compiler's hooks: the same updates, and a quicker start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mixbench.data import load
from mixbench.optim.eager import eager

KINDS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
]


def trained(make: Any, kind: type, options: dict, steps: int = 5) -> tuple[list[torch.Tensor], dict]:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), ())]
    optimizer = make(kind, weights, **options, fused=True)
    for step in range(steps):
        optimizer.zero_grad()
        sum(((w * (step + 1)).sin().sum() for w in weights), torch.zeros(())).backward()
        optimizer.step()
    assert all(w.requires_grad for w in weights)
    return [w.detach() for w in weights], optimizer.state_dict()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_updates_are_those_of_torch(kind: type, options: dict) -> None:
    """Oracle: the optimizer as torch makes it, bit for bit, with its state."""
    ours, our_state = trained(eager, kind, options)
    theirs, their_state = trained(lambda k, *a, **o: k(*a, **o), kind, options)
    assert all(map(torch.equal, ours, theirs))
    assert str(our_state) == str(their_state)


def test_a_scaler_takes_it() -> None:
    """Oracle: GradScaler's rule: a step with an infinite gradient is left out, others are taken."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = eager(torch.optim.SGD, [weight], lr=1.0, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(weight.sum() * torch.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [1, 1]
    optimizer.zero_grad()
    scaler.scale(weight.sum()).backward()
    scaler.step(optimizer)
    assert weight.tolist() == [0, 0]


def test_a_run_imports_neither_the_compiler_nor_what_only_tables_need(workplace: Path) -> None:
    """Brute force: the modules of a process that has trained on data that were prepared before."""
    load("digits")
    program = (
        "import sys; from mixbench import cli\n"
        "status = cli.run(['train', 'epochs=1', 'progress=false'])\n"
        "heavy = ('torch._dynamo', 'torch._inductor', 'sympy', 'pandas', 'matplotlib', 'sklearn', 'torchvision')\n"
        "print(status, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout
