"""Calls are counted by name, with the shapes of the first one; nothing is counted after the end."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.survey.calls import NEVER, Called, Calls


def test_calls_are_counted_until_the_end() -> None:
    """A module that runs twice, one that never runs, and a run that nobody listens to any more."""
    act = nn.ReLU()
    net = nn.Sequential(nn.Conv2d(3, 8, 3), act, nn.Flatten(), act)
    net.unused = nn.Linear(2, 2)
    net.forward = lambda x: net[3](net[2](net[1](net[0](x))))  # type: ignore[method-assign]
    calls = Calls()
    calls.attach(net)
    net(torch.zeros(2, 3, 5, 5))
    seen = calls.detach()
    net(torch.zeros(1, 3, 5, 5))
    assert seen["0"] == Called(1, (2, 3, 5, 5), (2, 8, 3, 3), 144)
    assert seen["1"] == Called(2, (2, 8, 3, 3), (2, 8, 3, 3), 288)
    assert seen[""] == Called(1, (2, 3, 5, 5), (2, 72), 144)
    assert seen.get("unused", NEVER) == NEVER
    assert not any(module._forward_hooks for module in net.modules())
