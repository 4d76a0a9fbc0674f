"""Stochastic Mixup & CutMix. Oracles: its two members, and the binomial distribution of the choice."""

from __future__ import annotations

import math

import pytest
import torch
from probes import probe

from mixbench.augment import CutMix, Mixup, MixupCutMix
from mixbench.augment.draws import Draws


@pytest.mark.parametrize(("mixup_prob", "member"), [(1.0, Mixup(4, 0.7)), (0.0, CutMix(4, 0.3))])
def test_limits_are_the_members(mixup_prob, member) -> None:
    """With probability 1 or 0 the distribution is the member's: compared on the draws that follow the choice."""
    mix = MixupCutMix(4, alpha_mixup=0.7, alpha_cutmix=0.3, mixup_prob=mixup_prob)

    def mask(what: Mixup | CutMix | MixupCutMix, skipped: int) -> tuple[torch.Tensor, torch.Tensor]:
        draws = Draws(torch.Generator().manual_seed(0), "cpu")
        draws.uniform(skipped)  # the choice
        if what is not mix and mixup_prob == 0.0:
            Mixup(4, 0.7).sample(50, 8, 8, draws)  # the member that was not chosen draws as well
        return what.sample(50, 8, 8, draws)

    draws = Draws(torch.Generator().manual_seed(0), "cpu")
    masks, own = mix.sample(50, 8, 8, draws)
    expected, expected_own = mask(member, 50)
    assert torch.equal(masks, expected.expand_as(masks))
    assert torch.equal(own, expected_own)


def test_share_of_mixup_batches() -> None:
    """A Mixup mask has one value strictly between 0 and 1, CutMix's only 0 and 1. 2000 batches with
    mixup_prob = 0.3, 4 standard deviations of the binomial."""
    mix, generator = MixupCutMix(2, mixup_prob=0.3, pairing="flip"), torch.Generator().manual_seed(0)
    mixup = 0
    for _ in range(2000):
        x, _ = probe(mix, 2, 6, 6, generator=generator)
        own = x[0, 0]
        is_mixup = bool((own == own[0, 0]).all() and 0 < own[0, 0] < 1)
        assert is_mixup or ((own == 0) | (own == 1)).all()
        mixup += is_mixup
    assert abs(mixup / 2000 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)


def test_the_choice_is_per_example_when_asked() -> None:
    """per_sample=True: both methods within one batch."""
    x, _ = probe(
        MixupCutMix(40, per_sample=True, pairing="flip"), 40, 8, 8, generator=torch.Generator().manual_seed(1)
    )
    own = x.diagonal(dim1=0, dim2=1).permute(2, 0, 1).flatten(1)
    binary = ((own == 0) | (own == 1)).all(1)
    assert 5 < binary.sum() < 35
