"""A toy network with open gates, and a few steps of training as the recovery loop takes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

import convsurgeon
from convsurgeon import Conversion
from convsurgeon.planning.rules import Rules
from convsurgeon.planning.targets import parse_targets
from convsurgeon.recovery.learned_groups import GroupSettings, LearnedGroups
from tests.nets import Plain

IMAGE = torch.zeros(1, 3, 8, 8)


def opened(width: int = 16) -> tuple[nn.Module, Conversion]:
    """A toy network and its conversion with open gates."""
    torch.manual_seed(1)
    net = Plain(width).eval()
    return net, convsurgeon.convert(net, IMAGE, method="dgconv", rules=Rules())


def learner(done: Conversion, target: str = "macs=50%", **settings: float) -> LearnedGroups:
    """Learned groups, attached to the conversion's network."""
    groups = LearnedGroups(done.plan, parse_targets(target), GroupSettings(**settings))  # type: ignore[arg-type]
    groups.attach(done.model)
    return groups


def train(
    model: nn.Module,
    original: nn.Module,
    groups: LearnedGroups,
    steps: int,
    *,
    first: int = 1,
    until: int | None = None,
    look: Callable[[int], None] = lambda _: None,
) -> None:
    """Steps ``first`` to ``until`` of ``steps``: squared distance to the original's outputs, plain gradient descent."""
    special = {id(p) for group in groups.parameters() for p in group.parameters}
    rates = [{"params": list(group.parameters), "lr": group.lr} for group in groups.parameters()]
    others = [p for p in model.parameters() if id(p) not in special]
    optimizer = torch.optim.SGD([{"params": others}, *rates], lr=0.01)
    model.train()
    for step in range(first, (until or steps) + 1):
        images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        with torch.no_grad():
            wanted = original(images)
        optimizer.zero_grad()
        groups.transform((model(images) - wanted).square().mean()).backward()
        optimizer.step()
        groups.after_step(step, steps)
        look(step)
    model.eval()
