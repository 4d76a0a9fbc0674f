"""Directional derivatives toward the mean example (Zou et al., MixupE, UAI 2023, equations 4 and 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def coefficients(model: nn.Module, inputs: Tensor, labels: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_ki (N, K) of equation 6 and q(x_i) (N,) of equation 4, with the model in evaluation.

    alpha_ki = (g_k - y_k) cos(grad f_k(x_i), mean - x_i), g the softmax of f, and q is the sum over the K classes of
    (g_k - y_k) grad f_k(x_i) . (mean - x_i). A gradient that vanishes has the cosine 0. `inputs` are (N, ...), `labels`
    (N,) and `mean` has the shape of one input. One differentiation for each class.
    """
    model.eval()
    probed = inputs.detach().requires_grad_()
    logits = model(probed)
    error = logits.detach().softmax(1) - F.one_hot(labels, logits.shape[1])
    toward = (mean - inputs).flatten(1)
    cosines, slopes = [], []
    for k in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), probed, retain_graph=True)
        cosines.append(F.cosine_similarity(gradient.flatten(1), toward, eps=1e-30))
        slopes.append((gradient.flatten(1) * toward).sum(1))
    return error * torch.stack(cosines, 1), (error * torch.stack(slopes, 1)).sum(1)
