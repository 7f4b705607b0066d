"""What int8 does to a network, imitated in float32: weights, and what layers are given, rounded to eight bits.

As int8 kernels take them: weights symmetric with a scale for each output channel, inputs with one scale and a zero
point for the whole tensor (Jacob et al. 2018, arXiv 1712.05877).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import observed

__all__ = ["RoundedLayer", "RoundedNetwork", "layers_of", "rounded_weight"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, *_TRANSPOSED)
_MOST_WEIGHT, _MOST_INPUT = 127, 255
_TINY = 1e-12


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that run in int8, by qualified name."""
    return {name: module for name, module in network.named_modules() if type(module) in _LAYERS}


def rounded_weight(layer: nn.Module) -> Tensor:
    """The layer's weights in steps of 1/127 of each output channel's largest; of the tensor's where transposed."""
    weight = _weight(layer)
    axes = tuple(range(0 if type(layer) in _TRANSPOSED else 1, weight.dim()))
    step = (weight.abs().amax(axes, keepdim=True) / _MOST_WEIGHT).clamp_min(_TINY)
    return (weight / step).round() * step


class RoundedLayer:
    """One layer, and how it computes when it is rounded; the range of its inputs is what was seen so far.

    Without a meaning where ``finite`` is False: a NaN or an infinity was seen.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.finite = True
        self._low = self._high = 0.0
        self._exactly = layer.forward
        self._rounded_weight = rounded_weight(layer)

    def see(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Widen the range to what the layer is given."""
        given: Tensor = args[0] if args else kwargs["input"]
        if given.numel():
            low, high = map(float, torch.aminmax(given))
            self.finite = self.finite and math.isfinite(high - low)
            self._low, self._high = min(self._low, low), max(self._high, high)

    def rounded(self, input: Tensor, *rest: Any) -> Tensor:
        """The layer's output from rounded weights and the rounded input."""
        step = max(self._high - self._low, _TINY) / _MOST_INPUT
        zero = round(-self._low / step)
        x = ((input / step + zero).round().clamp(0, _MOST_INPUT) - zero) * step
        weight = _weight(self.layer)
        kept = weight.data
        weight.data = self._rounded_weight
        try:
            output: Tensor = self._exactly(x, *rest)
        finally:
            weight.data = kept
        return output


class RoundedNetwork:
    """A copy of a network in which single layers can be rounded; ranges are those of ``batches``, in float.

    Raises:
        ModelRunError: a layer is given numbers that are not finite.
    """

    def __init__(self, network: nn.Module, batches: Iterable[Inputs]) -> None:
        self.network = duplicate(network).eval()
        self.layers = {name: RoundedLayer(layer) for name, layer in layers_of(self.network).items()}
        with torch.no_grad(), observed(before=[(rounded.layer, rounded.see) for rounded in self.layers.values()]):
            for inputs in batches:
                inputs.call(self.network)
        for name, rounded in self.layers.items():
            if not rounded.finite:
                raise ModelRunError(
                    f"layer '{name}' is given numbers on the calibration inputs that are not finite, for which int8 "
                    "has no range; mend the network, or export it in float."
                )

    @contextmanager
    def rounding(self, names: Collection[str]) -> Iterator[nn.Module]:
        """The network, in which these layers are rounded."""
        chosen = [self.layers[name] for name in names]
        try:
            for rounded in chosen:
                vars(rounded.layer)["forward"] = rounded.rounded
            yield self.network
        finally:
            for rounded in chosen:
                vars(rounded.layer).pop("forward", None)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
