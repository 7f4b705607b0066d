"""One model measured: exact counts per layer from one weightless forward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.budgets.metrics import Metric
from convsurgeon.budgets.recorder import WHOLE_MODEL, Recorder
from convsurgeon.survey.counting import CountedOn, count_params, run_on_copy
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["LayerCount", "Measured", "measure"]


@dataclass(frozen=True)
class LayerCount:
    """A module's own MACs and parameters, without its children's; ``varying_macs`` depend on the data."""

    name: str
    macs: int
    params: int
    varying_macs: int = 0


@dataclass(frozen=True)
class Measured:
    """What one forward on inputs of ``input_shapes`` costs, in eval mode without gradients.

    Attributes:
        macs: MACs that are the same whatever the data.
        varying_macs: MACs that depend on the data, as in this run (R-CNN heads: as many as there are proposals).
        varies: whether anything in the forward is as large as the data makes it, activations included.
        params: parameters, shared ones once.
        weights_size: bytes of parameters and saved buffers, shared ones once.
        activation_memory: peak bytes of live activations (see ``Recorder``).
        peak_at: the module at work at that peak.
        layers: in the model's own order, those with MACs or parameters.
        latency: median ms of one forward on this machine's CPU, where asked for.
        assumption: what to say of inputs that nothing states.
    """

    input_shapes: tuple[tuple[int, ...], ...]
    counted_on: CountedOn
    macs: int
    varying_macs: int
    varies: bool
    params: int
    weights_size: int
    activation_memory: int
    peak_at: str
    layers: tuple[LayerCount, ...]
    latency: float | None = None
    assumption: str | None = None

    def value(self, metric: Metric) -> float | None:
        """The number that a limit on ``metric`` is held against; None for a latency that was not taken."""
        if metric == "flops":
            return 2 * self.macs
        value: float | None = getattr(self, metric)
        return value


def measure(model: nn.Module, inputs: Inputs) -> Measured:
    """Count one forward on a weightless copy; the model is untouched.

    Raises:
        ModelLoadError: the model is wrapped, scripted, compiled, quantised or can't be copied.
        ModelRunError: the model fails on these inputs.
    """
    refuse_unusable(model)
    seen = Recorder()
    run = run_on_copy(model, inputs, seen.attach, seen.close)
    return Measured(
        input_shapes=inputs.shapes(),
        counted_on=run.counted_on,
        macs=seen.macs.total(),
        varying_macs=seen.varying_macs.total(),
        varies=seen.varies,
        params=count_params(model),
        weights_size=_weights_size(model),
        activation_memory=seen.peak,
        peak_at=seen.peak_at,
        layers=_layers(model, seen),
    )


def _layers(model: nn.Module, seen: Recorder) -> tuple[LayerCount, ...]:
    rows: list[LayerCount] = []
    owned: set[int] = set()
    for path, module in model.named_modules():
        name = path or WHOLE_MODEL
        own = [p for p in module._parameters.values() if p is not None and id(p) not in owned]
        owned.update(map(id, own))
        row = LayerCount(name, seen.macs[name], sum(p.numel() for p in own), seen.varying_macs[name])
        if row.macs or row.varying_macs or row.params:
            rows.append(row)
    return tuple(rows)


def _weights_size(model: nn.Module) -> int:
    tensors = {id(t): t for t in model.state_dict(keep_vars=True).values() if isinstance(t, torch.Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
