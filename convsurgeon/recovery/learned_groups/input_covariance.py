"""How the channels that each layer reads go together, watched while the network trains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from convsurgeon.base.observe import observe

__all__ = ["InputCovariance"]

# A running mean over about the last twenty batches: the inputs drift while the network learns.
_MEMORY = 0.95
# Pixels of a batch that are looked at, evenly spread: more say hardly more.
_PIXELS = 8192


class InputCovariance:
    """Running means and second moments of some convolutions' input channels, one forward with gradients per step.

    By gradients and not by mode, because a network that is distilled trains in eval mode (see ``recovery.modes``).
    """

    def __init__(self) -> None:
        self._moments: dict[str, Tensor] = {}
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
            pixels = inputs[0].detach().transpose(0, 1).flatten(1)
            # A difference of nearly equal numbers, for which half precision is too coarse.
            with torch.autocast(pixels.device.type, enabled=False):
                self._latest[name] = _moments(pixels[:, :: -(-pixels.shape[1] // _PIXELS)].float())

    def follow(self) -> None:
        """Take up what the step's forward brought; forwards that no step follows do not count."""
        for name, now in self._latest.items():
            before = self._moments.get(name)
            self._moments[name] = now if before is None else before.to(now).lerp(now, 1 - _MEMORY)
        self._latest.clear()

    def of(self, name: str, channels: int) -> Tensor:
        """Covariance [C_in, C_in] of a layer's inputs, on the CPU in float64; white where nothing was watched.

        Centred, because biases and norms take up means. Processes that train together get the same answer.
        """
        seen = self._moments.get(name)
        if seen is None:
            return torch.eye(channels, dtype=torch.float64)
        agreed = _agreed(seen).double().cpu()
        return agreed[1:, 1:] - torch.outer(agreed[0, 1:], agreed[0, 1:])

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {f"inputs.{name}": value.cpu() for name, value in self._moments.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        self._moments = {
            key.removeprefix("inputs."): value.clone() for key, value in state.items() if key.startswith("inputs.")
        }


def _moments(pixels: Tensor) -> Tensor:
    """Means and second moments [1 + C, 1 + C] of ``pixels`` [C, P], with a channel of ones ahead."""
    with_ones = torch.cat([torch.ones_like(pixels[:1]), pixels])
    return with_ones @ with_ones.T / pixels.shape[1]


def _agreed(value: Tensor) -> Tensor:
    """The mean over all processes, each of which saw other images."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
