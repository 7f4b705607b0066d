"""What each convolution is really called with: one forward with hooks on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.batch_axis import channels_last
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import After, observed
from convsurgeon.runtimes.machine import device_of, dtype_name, dtype_of
from convsurgeon.survey.sites import Site

__all__ = ["LayerCase", "layer_calls"]


@dataclass(frozen=True)
class LayerCase:
    """One convolution on one input shape; equal cases take the same time.

    ``layer`` describes the convolution (its ConvShape as JSON, and its class), ``size`` is the input's [N, C, H, W].
    """

    layer: str
    size: tuple[int, ...]
    dtype: str
    channels_last: bool
    weights_channels_last: bool

    def key(self) -> str:
        """The case as text, a stable key for files."""
        size = "x".join(map(str, self.size))
        formats = "".join("l" if last else "c" for last in (self.channels_last, self.weights_channels_last))
        return f"{size} {self.dtype} {formats} {self.layer}"

    def example(self, conv: nn.Module) -> Tensor:
        """An input of this case, on the convolution's device."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.size, generator=generator).to(device_of(conv), dtype_of(conv))
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x


def layer_calls(model: nn.Module, inputs: Inputs, sites: Iterable[Site]) -> Mapping[str, Counter[LayerCase]]:
    """How often one forward calls each site with which input; ``model`` is a copy in eval mode.

    Raises:
        ModelRunError: the model fails on these inputs.
    """
    seen: dict[str, Counter[LayerCase]] = {}
    recorders = []
    for site in sites:
        seen[site.name] = Counter()
        module = model.get_submodule(site.name)
        recorders.append((module, _recorder(site, module, seen[site.name])))
    with observed(after=recorders), torch.inference_mode():
        inputs.call(model)
    return seen


def _recorder(site: Site, module: nn.Module, cases: Counter[LayerCase]) -> After:
    layer = json.dumps([site.kind, site.shape.model_dump(mode="json")], separators=(",", ":"))

    def record(args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
        x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        weight = next((p for p in module.parameters() if p.dim() == x.dim()), None)
        last = weight is not None and channels_last(weight)
        cases[LayerCase(layer, tuple(x.shape), dtype_name(x.dtype), channels_last(x), last)] += 1

    return record
