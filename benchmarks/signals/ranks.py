"""How much of a layer's weights is more than noise: CONet's rank and rank slope.

Hosseini, Zhang, Liu, Yang, Lawryshyn, Plataniotis: CONet: Channel Optimization for Convolutional Neural Networks (ICCV
workshops 2021). The rank comes from the closed form of variational Bayesian matrix factorisation: Nakajima, Sugiyama,
Babacan, Tomioka: Global Analytic Solution of Fully-observed Variational Bayesian Matrix Factorization (JMLR 2013).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from benchmarks.accuracy.data import Split
from benchmarks.accuracy.nets import build
from benchmarks.accuracy.training import Settings, train

__all__ = ["rank_shares", "rank_slopes"]

# Of training, between which a slope is taken: early, as in CONet's trials.
FIRST, LAST = 100, 400

_TINY = 1e-30


def rank_shares(model: nn.Module) -> Mapping[str, float]:
    """For each convolution the rank that is not noise over the number of channels, the mean of both its unfoldings."""
    convs = {name: conv.weight for name, conv in model.named_modules() if isinstance(conv, nn.Conv2d)}
    return {name: _share(weight.detach().double()) for name, weight in convs.items()}


def rank_slopes(net: str, split: Split, seed: int) -> Mapping[str, float]:
    """How fast each convolution's rank grows early in the network's training, least 0."""
    torch.manual_seed(seed)
    model, kept, steps = build(net), {}, itertools.count(1)

    def watch(_: float) -> None:
        if (step := next(steps)) in (FIRST, LAST):
            kept[step] = rank_shares(model)

    few = Split(split.images[: LAST * Settings.batch], split.labels[: LAST * Settings.batch])
    train(model, few, seed, Settings(epochs=1), watch)
    return {name: max(0.0, kept[LAST][name] - kept[FIRST][name]) for name in kept[LAST]}


def _share(weight: Tensor) -> float:
    """Of [O, I, kH, kW]: channels going out against everything else, channels coming in against everything else."""
    unfoldings = weight.flatten(1), weight.transpose(0, 1).flatten(1)
    return float(np.mean([significant(matrix) / len(matrix) for matrix in unfoldings]))


def significant(matrix: Tensor) -> int:
    """How many singular values of a matrix [L, M] stand out of noise, whose variance is found, too."""
    few, many = sorted(matrix.shape)
    squares = torch.linalg.svdvals(matrix).square().clamp_min(_TINY).numpy()
    ratio = few / many
    edge = 2.5129 * math.sqrt(ratio)
    least = (1 + edge) * (1 + ratio / edge)
    most = min(math.ceil(few / (1 + ratio)), few) - 1
    upper = squares.sum() / (few * many)
    lower = max(squares[most] / (many * least), squares[most:].mean() / many)
    found = minimize_scalar(
        lambda variance: _energy(squares / (many * variance), ratio, least),
        bounds=(lower, upper),
        method="bounded",
    )
    return int((squares > many * found.x * least).sum())


def _energy(scaled: np.ndarray, ratio: float, least: float) -> float:
    """The free energy up to a constant, by squared singular values over M σ²."""
    out, noise = scaled[scaled > least], scaled[scaled <= least]
    middle = out - (1 + ratio)
    tau = 0.5 * (middle + np.sqrt(middle**2 - 4 * ratio))
    signal = out - tau + np.log((tau + 1) / out) + ratio * np.log(tau / ratio + 1)
    return float((noise - np.log(noise)).sum() + signal.sum())
