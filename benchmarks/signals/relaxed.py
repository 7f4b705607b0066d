"""A plan by gradients: every convolution is a mixture of its candidates, whose weights are learned under a budget.

As in differentiable architecture search (Liu, Simonyan, Yang: DARTS, ICLR 2019), with candidates that are fitted
already. All of them are linear, so that their mixture is one dense convolution and a step costs what it costs the
original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.accuracy.run import Sample
from convsurgeon.base.copies import duplicate
from convsurgeon.families.family import Spec
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.solver import Option, Solution, solve
from convsurgeon.survey.sites import Site

__all__ = ["Search", "relaxed"]


@dataclass(frozen=True)
class Search:
    """``steps`` of Adam; ``pressure`` on MACs above the budget."""

    steps: int = 300
    batch: int = 128
    rate: float = 0.05
    pressure: float = 10.0
    seed: int = 0


class Mixture(nn.Module):
    """Dense kernels [K, O, I, kH, kW], the convolution's own first, mixed by the softmax of K logits."""

    def __init__(self, conv: nn.Conv2d, kernels: Sequence[Tensor], macs: Sequence[int]) -> None:
        super().__init__()
        self.conv = conv
        self.kernels, self.macs = torch.stack([conv.weight.detach(), *kernels]), torch.tensor(macs)
        self.logits = nn.Parameter(torch.zeros(len(macs)))

    def forward(self, x: Tensor) -> Tensor:
        """[N, I, H, W] → [N, O, H', W']."""
        kernel = torch.einsum("k,koihw->oihw", self.logits.softmax(0), self.kernels)
        return F.conv2d(x, kernel, self.conv.bias, self.conv.stride, self.conv.padding)

    def expected(self) -> Tensor:
        """MACs, by the mixture's weights."""
        return (self.logits.softmax(0).double() * self.macs).sum()


def relaxed(
    model: nn.Module,
    problem: Problem,
    kernels: Mapping[str, Mapping[Spec, Tensor]],
    sample: Sample,
    share: float,
    search: Search,
) -> dict[str, Spec]:
    """What each site becomes: of all plans within the share of the MACs the likeliest one by the mixtures."""
    network = duplicate(model).eval().requires_grad_(False)
    sites = [choice.site for choice in problem.choices if choice.site.name in kernels]
    mixtures = [_mixture(network, site, kernels[site.name]) for site in sites]
    whole = problem.survey.total.macs
    fixed = whole - sum(site.cost.macs for site in sites)
    _learn(model, network, mixtures, sample, fixed, share * whole, search)
    likely = [one.logits.detach().log_softmax(0).tolist() for one in mixtures]
    parts = [
        [Option((macs,), -log) for macs, log in zip(one.macs.tolist(), logs, strict=True)]
        for one, logs in zip(mixtures, likely, strict=True)
    ]
    found = solve(parts, [int(share * whole) - fixed])
    assert isinstance(found, Solution), "the menu's least MACs are above the budget"
    picks = zip(sites, found.picks, strict=True)
    return {site.name: list(kernels[site.name])[pick - 1] for site, pick in picks if pick}


def _learn(
    model: nn.Module,
    network: nn.Module,
    mixtures: Sequence[Mixture],
    sample: Sample,
    fixed: int,
    budget: float,
    search: Search,
) -> None:
    """Adam on the output error ‖o − ô‖² / ‖o − mean(o)‖² and on the share of expected MACs that is above the budget."""
    optimiser = torch.optim.Adam([one.logits for one in mixtures], search.rate)
    generator = torch.Generator().manual_seed(search.seed)
    with torch.no_grad():
        wanted = torch.cat([model(batch) for batch in sample.batches()])
    spread = (wanted - wanted.mean(0)).square().sum(1).mean()
    for _ in range(search.steps):
        chosen = torch.randint(len(wanted), (search.batch,), generator=generator)
        error = (network(sample.images[chosen]) - wanted[chosen]).square().sum(1).mean() / spread
        over = (fixed + torch.stack([one.expected() for one in mixtures]).sum()) / budget - 1
        optimiser.zero_grad()
        (error + search.pressure * over.clamp_min(0)).backward()
        optimiser.step()


def _mixture(network: nn.Module, site: Site, kernels: Mapping[Spec, Tensor]) -> Mixture:
    """Put the mixture of a convolution and its candidates in the convolution's place."""
    conv = network.get_submodule(site.name)
    assert isinstance(conv, nn.Conv2d)
    macs = [site.cost.macs, *(spec.cost(site.shape, site.positions).macs for spec in kernels)]
    mixture = Mixture(conv, list(kernels.values()), macs)
    network.set_submodule(site.name, mixture)
    return mixture
