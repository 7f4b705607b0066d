"""One network lowered for one memory format: graph by graph where it traces, unit by unit where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import INTERRUPTIONS, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import Before, observed
from convsurgeon.deployment.lowering.choice import Choice
from convsurgeon.deployment.lowering.forms import forms_of
from convsurgeon.deployment.lowering.graph import as_modules, read_graphs, record
from convsurgeon.deployment.lowering.layout import laid_out
from convsurgeon.deployment.lowering.passes.absorb_orders import absorb_orders
from convsurgeon.deployment.lowering.passes.activate_in_place import activate_in_place
from convsurgeon.deployment.lowering.passes.add_onto_shortcuts import add_onto_shortcuts, find_joins
from convsurgeon.deployment.lowering.passes.drop_idle import drop_idle
from convsurgeon.deployment.lowering.passes.fold_batch_norm import fold_batch_norm
from convsurgeon.deployment.lowering.passes.realise_units import choose_forms, realise_units
from convsurgeon.deployment.lowering.passes.wrap_units import wrap_units
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution
from convsurgeon.families.torch_convs import conv_shape, in_numbers
from convsurgeon.families.unit import CompactConv, GatedConv

__all__ = ["Subject", "lowered"]

Calls = Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Subject:
    """A network to lower, once for each memory format, and what it is called with; see `Subject.of`."""

    model: nn.Module
    inputs: Inputs

    @classmethod
    def of(cls, original: nn.Module, inputs: Inputs) -> Subject:
        """From a copy of the network, in which nothing learns gates and paddings are numbers where they can be."""
        return cls(_plainly(duplicate(original)), inputs)

    @cached_property
    def graphs(self) -> dict[str, fx.Graph]:
        """Traced once."""
        return read_graphs(self.model)


def lowered(subject: Subject, choice: Choice, layout: torch.memory_format) -> tuple[nn.Module, tuple[Step, ...]]:
    """By parts where the whole does not trace, and unit by unit where the parts do not fit back."""
    try:
        return _in_graphs(subject, choice, layout)
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        # Any code may stand around the parts: it may index them, or read attributes that graphs do not have.
        model, steps = _unit_by_unit(subject.model, subject.inputs, choice, layout)
        note = Step(pass_name="trace", where="", what=f"unit by unit, because {first_line(error)}", done=False)
        return model, (note, *steps)


def _in_graphs(subject: Subject, choice: Choice, layout: torch.memory_format) -> tuple[nn.Module, tuple[Step, ...]]:
    graphs, inputs = subject.graphs, subject.inputs
    model = laid_out(duplicate(subject.model), layout)
    parts = as_modules(graphs, model)
    calls = _calls(model, inputs, parts)
    steps: list[Step] = []
    for name, traced in parts.items():
        if name in calls:
            part, done = _lower_part(traced, *calls[name], choice)
            # A part's own graph names its modules from the part on.
            steps += [
                step.model_copy(update={"where": f"{name}.{step.where}" if name else step.where}) for step in done
            ]
            model = _put(model, name, laid_out(part, layout))
    inputs.call(model)
    if _units(model):
        model, found = _unit_by_unit(model, inputs, choice, layout)
        steps += found
    return model, tuple(steps)


def _lower_part(
    traced: fx.GraphModule, args: tuple[Any, ...], kwargs: dict[str, Any], choice: Choice
) -> tuple[fx.GraphModule, list[Step]]:
    """All passes over one graph."""
    traced, dropped = drop_idle(traced)
    traced, folded = fold_batch_norm(wrap_units(traced))
    recording = record(traced, args, kwargs)
    joins = find_joins(traced, recording) if choice.overwrites else {}
    chosen = choose_forms(traced, recording, choice, joins)
    traced, absorbed = absorb_orders(traced, recording, chosen)
    traced, realised = realise_units(traced, recording, chosen, choice, joins)
    traced, added = add_onto_shortcuts(traced, joins)
    traced, activated = activate_in_place(traced)
    return traced, [*dropped, *folded, *absorbed, *realised, *added, *activated]


def _calls(model: nn.Module, inputs: Inputs, names: Mapping[str, object]) -> Calls:
    """What each named module is called with first; a module that is never called has no entry."""
    seen: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def keep(name: str) -> Before:
        def hook(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # Later layers may overwrite what they are given.
            seen.setdefault(name, _copied((args, kwargs)))

        return hook

    with observed(before=[(model.get_submodule(name), keep(name)) for name in names]):
        inputs.call(model)
    return seen


def _copied(values: Any) -> Any:
    from torch.utils._pytree import tree_map_only

    return tree_map_only(Tensor, lambda tensor: tensor.clone(), values)


def _put(model: nn.Module, name: str, part: nn.Module) -> nn.Module:
    """Put a part in the place of a module, at every path that leads to it; the root's part is the model."""
    if not name:
        return part
    old = model.get_submodule(name)
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            model.set_submodule(path, part)
    return model


def _unit_by_unit(
    network: nn.Module, inputs: Inputs, choice: Choice, layout: torch.memory_format
) -> tuple[nn.Module, tuple[Step, ...]]:
    """Compact units become plain convolutions where they stand; nothing around them changes."""
    model = laid_out(duplicate(network), layout)
    units = _units(model)
    calls = _calls(model, inputs, units)
    steps = []
    for name, unit in units.items():
        if name in calls:
            absorbed = Absorbed.nothing(unit)
            form = choice.pick(absorbed, forms_of(absorbed), calls[name][0][0], free=False, onto=False)
            model = _put(model, name, laid_out(form.realise(absorbed), layout))
            what = f"{unit.spec.describe()}: {form.name}"
            steps.append(Step(pass_name="units as plain convolutions", where=name, what=what))
    return model, tuple(steps)


def _units(model: nn.Module) -> dict[str, CompactConv]:
    return {name: module for name, module in model.named_modules() if isinstance(module, CompactConv)}


def _plainly(model: nn.Module) -> nn.Module:
    """A convolution that still learns its gates becomes the masked one that it computes; paddings become numbers."""
    for name, module in list(model.named_modules()):
        if isinstance(module, GatedConv):
            model = _put(model, name, convolution(module, module.weight * module.mask(), module.bias))
    for module in model.modules():
        if isinstance(module, PLAIN_CONVS) and type(module) in PLAIN_CONVS:
            module.padding = in_numbers(conv_shape(module))
    return model
