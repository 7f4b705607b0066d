"""Absorbed units become plain convolutions, in the form that was chosen.

Requires: inputs of every unit from a run. Ensures: equal outputs up to rounding, and no module of this package but
the few pieces that convolutions are joined by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import fx

from convsurgeon.deployment.lowering.choice import Choice
from convsurgeon.deployment.lowering.forms import Form, forms_of
from convsurgeon.deployment.lowering.graph import Recording, module_of
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.families.forms.absorbed import Absorbed

__all__ = ["choose_forms", "realise_units"]

NAME = "units as plain convolutions"


def choose_forms(
    traced: fx.GraphModule, recording: Recording, choice: Choice, onto: Collection[str]
) -> dict[str, Form]:
    """The form that each unit would like best if the outside took its channel orders.

    ``onto`` names those whose outputs are added to a tensor in place.
    """
    chosen: dict[str, Form] = {}
    for node in traced.graph.nodes:
        unit = module_of(traced, node)
        name = str(node.target)
        if isinstance(unit, Absorbed) and name not in chosen:
            x = recording.unit_inputs[node]
            chosen[name] = choice.pick(unit, forms_of(unit), x, free=True, onto=name in onto)
    return chosen


def realise_units(
    traced: fx.GraphModule, recording: Recording, chosen: Mapping[str, Form], choice: Choice, onto: Collection[str]
) -> tuple[fx.GraphModule, tuple[Step, ...]]:
    """Build every unit; one whose orders were not absorbed may be better off with another form."""
    new = own_copy(traced)
    inputs = {node.name: x for node, x in recording.unit_inputs.items()}
    built: dict[int, torch.nn.Module] = {}
    steps = []
    for node in new.graph.nodes:
        unit = module_of(new, node)
        if not isinstance(unit, Absorbed):
            continue
        name = str(node.target)
        form = chosen[name]
        if not _granted(unit, form):
            form = choice.pick(unit, forms_of(unit), inputs[node.name], free=False, onto=name in onto)
        module = built.setdefault(id(unit), form.realise(unit))
        new.set_submodule(name, module)
        steps.append(Step(pass_name=NAME, where=name, what=f"{unit.unit.spec.describe()}: {form.name}"))
    return finished(new), tuple(steps)


def _granted(unit: Absorbed, form: Form) -> bool:
    wrote = form.order is None or torch.equal(unit.writes, form.order)
    return wrote and (form.reads is None or torch.equal(unit.reads[form.reads].sort().values, unit.reads[form.reads]))
