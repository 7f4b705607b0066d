"""Signals beside measured damage: a rank is what stands out of noise, a mixture is what its candidates are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsurgeon
from benchmarks.accuracy.run import Sample
from benchmarks.signals.menu import dense_kernels, on_menu, plan_of, short_menu
from benchmarks.signals.ranks import significant
from benchmarks.signals.relaxed import Search, relaxed
from convsurgeon.planning.problem import Problem, pose


@pytest.mark.parametrize("rank", [0, 3, 11])
def test_rank_is_what_stands_out_of_noise(rank: int) -> None:
    """A matrix of some rank far above its noise has that rank, and noise alone has none."""
    generator = torch.Generator().manual_seed(rank)
    left, right = torch.randn(40, rank, generator=generator), torch.randn(rank, 90, generator=generator)
    noise = torch.randn(40, 90, generator=generator)
    assert significant((left @ right + 0.1 * noise).double()) == rank


@pytest.fixture
def net() -> nn.Module:
    """Two convolutions, one of which strides."""
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
    convs = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*convs, *head).eval()


@pytest.fixture
def sample() -> Sample:
    """Smooth images, as many as fits of so small layers want."""
    coarse = torch.rand(256, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return Sample(nn.functional.interpolate(coarse, size=14, mode="bilinear"), torch.zeros(256, dtype=torch.long))


@pytest.fixture
def problem(net: nn.Module, sample: Sample) -> Problem:
    """``auto`` at half of the MACs."""
    whole = pose(convsurgeon.inspect(net, sample.example), convsurgeon.Recipe(target="macs=50%"))
    return on_menu(whole, short_menu(whole))


def test_kernels_are_what_candidates_compute(net: nn.Module, problem: Problem, sample: Sample) -> None:
    """A convolution with a candidate's dense kernel gives what the candidate gives."""
    kernels = dense_kernels(net, problem, sample)
    found = short_menu(problem)[0]
    done = convsurgeon.apply(net, plan_of(problem, found), sample.example, calibration=sample.batches()).model
    for name, spec in found.items():
        conv, unit = net.get_submodule(name), done.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        x = torch.randn(2, conv.in_channels, 9, 9)
        dense = nn.functional.conv2d(x, kernels[name][spec], None, conv.stride, 1)
        moved = unit(x) - unit(torch.zeros_like(x))
        torch.testing.assert_close(dense, moved, rtol=1e-4, atol=1e-5)


def test_relaxed_plans_keep_the_budget(net: nn.Module, problem: Problem, sample: Sample) -> None:
    """What the search settles on has at most the MACs asked for."""
    kernels = dense_kernels(net, problem, sample)
    plan = plan_of(problem, relaxed(net, problem, kernels, sample, 0.5, Search(steps=20, batch=32)))
    assert plan.replaced
    assert plan.after.macs <= 0.5 * plan.before.macs
