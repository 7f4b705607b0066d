"""Surgery: (model, plan) → a new model. Modules are swapped in a copy; the caller's model is never touched."""

from __future__ import annotations

import torch
from torch import nn

from convsurgeon.convs import DGConv, Spec, conv_shape, seeded
from convsurgeon.counting import duplicate
from convsurgeon.errors import UnknownName
from convsurgeon.planning import Plan, PlanLayer
from convsurgeon.sites import refuse_unusable

__all__ = ["operate", "replacement"]


def operate(model: nn.Module, plan: Plan, *, seed: int = 0) -> nn.Module:
    """Return a copy of the model with the planned convolutions replaced, freshly initialised from ``seed``.

    Device, dtype, memory format, ``requires_grad`` and train flag follow the convolution. Open-gated DGConvs take
    its weights over, since they are equal to it by construction.

    Raises:
        ModelLoadError: a model that can't be opened or copied.
        UnknownName: the plan names a convolution that is not there, or that has another shape.
    """
    refuse_unusable(model)
    # By identity and while copying, so that a convolution that a plain list or a bound method also refers to is
    # replaced there too.
    instead: dict[nn.Module, nn.Module] = {}
    with seeded(seed):
        for layer in plan.replaced:
            if layer.spec is not None:
                conv = _find(model, layer)
                instead[conv] = replacement(conv, layer.spec)
    return duplicate(model, instead)


def _find(model: nn.Module, layer: PlanLayer) -> nn.Conv2d:
    try:
        conv = model.get_submodule(layer.name)
    except AttributeError:
        conv = None
    if not isinstance(conv, nn.Conv2d):
        found = "nothing" if conv is None else f"a {type(conv).__name__}"
        raise UnknownName(f"the plan replaces '{layer.name}', where this model has {found}; expected {layer.kind}.")
    if conv_shape(conv) != layer.shape:
        raise UnknownName(
            f"the plan replaces '{layer.name}' as {layer.shape.describe()}, "
            f"this model has {conv_shape(conv).describe()} there."
        )
    return conv


def replacement(conv: nn.Conv2d, spec: Spec) -> nn.Module:
    """A new module for one convolution, with its device, dtype, memory format and flags."""
    new = spec.build(conv_shape(conv)).to(conv.weight.device, conv.weight.dtype)
    if conv.weight.dim() == 4 and conv.weight.is_contiguous(memory_format=torch.channels_last):
        new = new.to(memory_format=torch.channels_last)
    if isinstance(new, DGConv):
        with torch.no_grad():
            new.weight.copy_(conv.weight)
            if conv.bias is not None and new.bias is not None:
                new.bias.copy_(conv.bias)
    new.requires_grad_(conv.weight.requires_grad)
    return new.train(conv.training)
