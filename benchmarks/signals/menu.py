"""A short menu: for every convolution a few candidates of each family, and what each does once it is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.run import Sample
from convsurgeon.families import family_of
from convsurgeon.families.family import Spec
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import Damage
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem
from convsurgeon.survey.sites import Site

__all__ = ["dense_kernels", "on_menu", "plan_of", "short_menu"]

# CompConv has activations inside, so that a mixture with it is no convolution.
LINEAR = ("igc", "spatial", "tucker")
RUNGS = (0.7, 0.5, 0.35, 0.25, 0.15, 0.1)


Menu = Sequence[Mapping[str, Spec]]


def short_menu(problem: Problem) -> Menu:
    """In rounds of one spec a site: each linear family's candidate next below each share of the site's MACs."""
    rounds = [_round(problem, family, rung) for family in LINEAR for rung in RUNGS]
    return [found for found in rounds if found]


def on_menu(problem: Problem, menu: Menu) -> Problem:
    """The same problem with the menu's candidates alone."""
    choices = [
        replace(choice, options=tuple(one for one in choice.options if _holds(menu, choice.site, one.spec)))
        for choice in problem.choices
    ]
    return replace(problem, choices=tuple(choices))


def _holds(menu: Menu, site: Site, spec: Spec) -> bool:
    return any(found.get(site.name) == spec for found in menu)


def _round(problem: Problem, family: str, rung: float) -> dict[str, Spec]:
    found = {}
    for choice in problem.choices:
        limit = rung * choice.site.cost.macs
        below = [o for o in choice.options if family_of(o.spec).name == family and o.cost.macs <= limit]
        if below:
            found[choice.site.name] = max(below, key=lambda option: option.cost.macs).spec
    return found


def plan_of(problem: Problem, found: Mapping[str, Spec]) -> Plan:
    """The plan that puts these where they belong, and keeps every other convolution."""
    alone = Damage("one candidate a site", lambda site, spec: 0.0 if found.get(site.name) == spec else None)
    return make_plan(replace(problem.rated(alone), targets=()))


def dense_kernels(model: nn.Module, problem: Problem, sample: Sample) -> dict[str, dict[Spec, Tensor]]:
    """The dense kernel [O, I, kH, kW] that each candidate amounts to, fitted in a network of its round's candidates."""
    kernels: dict[str, dict[Spec, Tensor]] = {}
    for found in short_menu(problem):
        done = convsurgeon.apply(model, plan_of(problem, found), sample.example, calibration=sample.batches()).model
        for name, spec in found.items():
            conv = model.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            # A spec of several rounds is that of the first.
            kernels.setdefault(name, {}).setdefault(spec, _kernel(done.get_submodule(name), conv))
    return kernels


@torch.no_grad()
def _kernel(unit: nn.Module, conv: nn.Conv2d) -> Tensor:
    """A unit's answer to single pixels, at the second output, whose window begins at stride − padding."""
    (high, wide), channels = conv.kernel_size, conv.in_channels
    assert not isinstance(conv.padding, str)
    top, left = (stride - padding for stride, padding in zip(conv.stride, conv.padding, strict=True))
    pixels = torch.eye(channels * high * wide).view(-1, channels, high, wide)
    around = nn.functional.pad(pixels, (left, wide, top, high))
    zero = torch.zeros(1, channels, *around.shape[2:])
    answers = torch.cat([unit(part) for part in around.split(256)]) - unit(zero)
    return answers[:, :, 1, 1].view(channels, high, wide, -1).permute(3, 0, 1, 2).contiguous()
