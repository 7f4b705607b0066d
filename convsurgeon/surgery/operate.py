"""Surgery: (model, plan) → a new model. Modules are swapped in a copy; the caller's model is never touched."""

from __future__ import annotations

import copy

import torch
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.base.generators import seeded
from convsurgeon.families.family import Refusal, Spec
from convsurgeon.families.memory_format import stored_as
from convsurgeon.families.torch_convs import Conv, conv_shape
from convsurgeon.families.unit import GatedConv
from convsurgeon.planning.plan import Plan, PlanLayer
from convsurgeon.planning.plan_streams import Gone
from convsurgeon.surgery.drop import branch_parameters, carried_in, left_out
from convsurgeon.surgery.narrow import carried_parameters, narrow
from convsurgeon.survey.sources import CONVS, plainly, source_of
from convsurgeon.survey.usable import refuse_unusable

__all__ = ["narrowed", "operate", "replacement", "swapped"]


def operate(model: nn.Module, plan: Plan, *, seed: int = 0) -> nn.Module:
    """Return a copy of the model, narrowed as planned, without the residual branches that are dropped, and with the
    planned convolutions replaced.

    Raises:
        ModelLoadError: a model that can't be opened or copied.
        UnknownName: the plan names a layer that is not there, or that has another shape.
    """
    return swapped(narrowed(model, plan), plan, seed=seed)


def narrowed(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of the model without the channels that the plan takes away; the model itself where it takes none.

    Raises:
        ModelLoadError, UsageError, UnknownName: as `narrow`; also where the plan says of norms what they do not have.
    """
    _check_branches(model, plan)
    for row in plan.narrowed:
        if row.carried != (here := carried_parameters(model, row.stream)):
            raise UsageError(
                f"the plan says that norms of stream '{row.stream.name}' carry {row.carried} parameters for each "
                f"channel; in this model it is {here}. Edit only what is 'kept', or make a new plan."
            )
    kept = {row.stream: row.channels for row in plan.narrowed}
    return narrow(model, kept) if kept else model


def swapped(model: nn.Module, plan: Plan, *, seed: int = 0) -> nn.Module:
    """A copy of a (narrowed) model without the dropped branches and with the planned convolutions replaced, freshly
    initialised from ``seed``.

    Device, dtype, memory format, ``requires_grad`` and train flag follow the convolution. Units with open gates take
    its weights over, since they are equal to it by construction.
    """
    refuse_unusable(model)
    # By identity and while copying, so that a convolution that a plain list or a bound method also refers to is
    # replaced there too.
    instead: dict[nn.Module, nn.Module] = {}
    gone = Gone(plan.streams).by_stream
    for row in plan.dropped:
        instead |= left_out(model, row.block, row.left(gone))
    with seeded(seed):
        for layer in plan.replaced:
            if layer.spec is not None:
                conv = _find(model, layer)
                instead[conv] = replacement(conv, layer.spec)
    return duplicate(model, instead)


def _check_branches(model: nn.Module, plan: Plan) -> None:
    priced = {*(row.name for row in plan.layers), *(row.layer.name for row in plan.linears)}
    streams = [row.stream for row in plan.streams]
    for row in plan.dropped:
        here = branch_parameters(model, row.block, priced), carried_in(model, row.block, streams)
        if here != (row.others, row.carried):
            raise UsageError(
                f"the plan says that residual branch '{row.block.name}' has {row.others} parameters beside those of "
                f"convolutions and linear layers, and {row.carried} for each channel of streams; in this model it is "
                f"{here[0]} and {here[1]}. Edit only 'action' and 'restored_by', or make a new plan."
            )


def _find(model: nn.Module, layer: PlanLayer) -> Conv:
    try:
        conv = model.get_submodule(layer.name)
    except AttributeError:
        conv = None
    if not isinstance(conv, CONVS):
        found = "nothing" if conv is None else f"a {type(conv).__name__}"
        raise UnknownName(f"the plan replaces '{layer.name}', where this model has {found}; expected {layer.kind}.")
    source = source_of(conv)
    if isinstance(source, Refusal):
        raise UnknownName(f"the plan replaces '{layer.name}', where this model's {source.reason}.")
    if source.shape != layer.now:
        raise UnknownName(
            f"the plan replaces '{layer.name}' as {layer.now.describe()}, "
            f"this model has {source.shape.describe()} there."
        )
    return conv


def replacement(conv: Conv, spec: Spec) -> nn.Module:
    """A new module for one convolution, with its device, dtype, memory format and flags."""
    plain = plainly(conv)
    new = stored_as(plain.weight, spec.build(conv_shape(plain)).to(plain.weight.device, plain.weight.dtype))
    if isinstance(new, GatedConv):
        with torch.no_grad():
            new.weight.copy_(plain.weight)
            if plain.bias is not None and new.bias is not None:
                new.bias.copy_(plain.bias)
    new.requires_grad_(plain.weight.requires_grad)
    vars(new).update(_written_on(conv, new))
    return new.train(conv.training)


def _written_on(conv: Conv, new: nn.Module) -> dict[str, object]:
    """What a builder wrote on the layer, as ultralytics does: a forward reads there where inputs come from."""
    known = {*vars(new), "transposed"}
    return {
        name: copy.deepcopy(value)
        for name, value in vars(conv).items()
        if name not in known and not name.startswith("_") and not hasattr(type(new), name) and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
