"""How much an error in one convolution's output moves the network's output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from convsurgeon.inherit.calibration import first_images
from convsurgeon.inputs import Inputs

__all__ = ["SENSITIVITY_IMAGES", "output_sensitivity"]

SENSITIVITY_IMAGES = 32
# Relative energy of the noise: as large as a fit's error, small enough for the network to answer in proportion.
NOISE = 0.02
TINY = 1e-30


def output_sensitivity(
    model: nn.Module,
    names: Sequence[str],
    batches: Iterable[Inputs],
    *,
    seed: int,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> dict[str, float]:
    """Relative output error of the model per relative error in each named convolution's output.

    Noise of 2 % of a channel's variance is added to the convolution's output in one forward (in eval mode, without
    gradients, as the caller sets it up) over ``SENSITIVITY_IMAGES`` inputs. Where the outputs don't vary, or change
    their shape, every sensitivity is 1.
    """
    inputs = list(first_images(batches, SENSITIVITY_IMAGES))
    wanted = _flat_outputs(model, inputs)
    spread = float((wanted - wanted.mean()).square().sum())
    found = {}
    for done, name in enumerate(names):
        progress(done, len(names), name)
        generator = torch.Generator().manual_seed(seed)
        hook = model.get_submodule(name).register_forward_hook(_noisy(generator))
        try:
            moved = _flat_outputs(model, inputs)
        finally:
            hook.remove()
        comparable = moved.shape == wanted.shape and spread > TINY
        found[name] = float((moved - wanted).square().sum()) / spread / NOISE if comparable else 1.0
    return found


def _noisy(generator: torch.Generator) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def disturb(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        axes = [axis for axis in range(output.dim()) if axis != 1]
        deviation = output.float().std(dim=axes, correction=0, keepdim=True)
        noise = torch.randn(output.shape, generator=generator).to(output.device)
        return output + (NOISE**0.5 * deviation * noise).to(output.dtype)

    return disturb


def _flat_outputs(model: nn.Module, batches: Sequence[Inputs]) -> Tensor:
    """All floating-point outputs as one vector."""
    leaves: Iterator[Any] = chain.from_iterable(tree_leaves(inputs.call(model)) for inputs in batches)
    flat = [leaf.double().cpu().flatten() for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=torch.float64)
