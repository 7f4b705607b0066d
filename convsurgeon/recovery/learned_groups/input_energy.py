"""How much energy each input channel of a layer carries, watched while the network trains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from convsurgeon.base.observe import observe

__all__ = ["InputEnergy"]

# A running mean over about the last twenty batches: the inputs drift while the network learns.
_MEMORY = 0.95


class InputEnergy:
    """Running mean square [C_in] of the inputs of some convolutions, one forward with gradients per step.

    By gradients and not by mode, because a network that is distilled trains in eval mode (see ``recovery.modes``).
    """

    def __init__(self) -> None:
        self._mean_square: dict[str, Tensor] = {}
        self._latest: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []

    def watch(self, modules: Mapping[str, nn.Module]) -> None:
        """Begin to watch."""
        self._hooks += observe(before=[(module, partial(self._see, name)) for name, module in modules.items()])

    def close(self) -> None:
        """Watch no longer."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._latest.clear()

    def _see(self, name: str, inputs: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            self._latest[name] = inputs[0].detach().float().square().mean((0, 2, 3))

    def follow(self) -> None:
        """Take up what the step's forward brought; forwards that no step follows do not count."""
        for name, now in self._latest.items():
            before = self._mean_square.get(name)
            self._mean_square[name] = now if before is None else before.to(now).lerp(now, 1 - _MEMORY)
        self._latest.clear()

    def of(self, name: str, weight: Tensor) -> Tensor:
        """Energy [C_out, C_in] that each input channel brings to each output, on the CPU in float64.

        ‖w_oi‖² · mean(x_i²), from the weights [C_out, C_in, …] alone where nothing was watched. Processes that train
        together get the same answer.
        """
        own = weight.detach().double().cpu().flatten(2).square().sum(2)
        seen = self._mean_square.get(name)
        return own if seen is None else own * _agreed(seen).double().cpu()

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {f"energy.{name}": value.cpu() for name, value in self._mean_square.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        self._mean_square = {
            key.removeprefix("energy."): value.clone() for key, value in state.items() if key.startswith("energy.")
        }


def _agreed(value: Tensor) -> Tensor:
    """The mean over all processes, each of which saw other images."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
