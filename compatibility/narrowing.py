"""Narrowing: every open stream cut to half of its channels, and an oracle for what is left of the network.

The plan is edited as people edit one: each open stream keeps a random half, and reading it prices everything anew.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import convsurgeon
from compatibility.calibrated import INPUTS, SLACK, answered, apart, drawn, finite, shaken
from compatibility.conversions import Attempt
from compatibility.stages import LeftOut, Wrong
from compatibility.witness import TRANSPOSED, ran
from convsurgeon.conversion.narrowing import fully_narrowed
from convsurgeon.planning.channel_ranges import write_channels
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_file import read_plan
from convsurgeon.planning.problem import Problem, pose
from convsurgeon.survey.streams import Stream

__all__ = ["NARROW", "halved", "narrowed"]

NARROW = "narrow"  # the column's name
_EXACT = 1e-9  # of what the cut changes, in float64


def halved(model: nn.Module, inputs: Any) -> Attempt:
    """Every open stream at half of its channels, only cut; nothing where all streams are closed, with the reasons."""
    plan = _half(model, inputs)
    if plan is None:
        return Attempt("nothing", note=_why_none(_posed(model, inputs).closed))
    done = convsurgeon.apply(model, plan, inputs, random_weights=True)
    return Attempt("converted", done, share=1.0, note=f"{len(plan.narrowed)} of {len(plan.streams)} streams")


def narrowed(model: nn.Module, inputs: Any, *, varying: bool = False) -> None:
    """Narrow a shaken copy on random inputs like these; ``model`` is untouched.

    Only cut, in float64, its outputs are those of the network whose readers have zeros for the channels that are gone.
    Fitted again on the inputs, they are no further from the original's than only cut. Outputs that are ``varying`` in
    size (a detector's boxes) must be finite only.

    Raises:
        Wrong: outputs that are not so.
        LeftOut: every stream is closed, or outputs that can't be compared.
    """
    model = shaken(model)
    plan = _half(model, inputs)
    if plan is None:
        raise LeftOut("every stream is closed")
    if not varying:
        _as_deafened(model, plan, inputs)
    _as_fitted(model, plan, inputs, varying=varying)


def _as_deafened(model: nn.Module, plan: Plan, inputs: Any) -> None:
    whole = copy.deepcopy(model).double()
    data = [_double(drawn(inputs, seed)) for seed in range(2)]
    try:
        wholes = [ran(whole, each) for each in data]
    except Exception as error:
        # A forward may make tensors of its own type, and says so in any words.
        raise LeftOut("the original does not run in float64") from error
    cut = convsurgeon.apply(model, plan, inputs, random_weights=True).model.double()
    deaf = _deafened(whole, plan)
    ours, changed = apart([ran(deaf, each) for each in data], [ran(cut, each) for each in data], wholes)
    if not changed > 0:
        raise LeftOut("the channels that are gone change nothing in the outputs")
    if not ours <= _EXACT * changed:
        raise Wrong(f"cut, it is {ours:.3g} from the network that does not read the channels; the cut {changed:.3g}")


def _as_fitted(model: nn.Module, plan: Plan, inputs: Any, *, varying: bool) -> None:
    data, before = answered(model, inputs, INPUTS)
    made = convsurgeon.apply(model, plan, inputs, calibration=data).model
    cut = convsurgeon.apply(model, plan, inputs, random_weights=True).model
    fitted, unfitted = ([ran(network, each) for each in data] for network in (made, cut))
    if not all(finite(each) for each in fitted):
        raise Wrong("the fitted network's outputs are not finite")
    if varying:
        return
    ours, unfits = apart(before, fitted, unfitted)
    if ours > SLACK * unfits:
        raise Wrong(f"output error {ours:.3g} fitted again, {unfits:.3g} only cut")


def _why_none(streams: Iterable[Stream]) -> str:
    reasons = Counter(stream.closed or "" for stream in streams)
    return "; ".join(f"{reason} ({times})" for reason, times in reasons.most_common()) or "no streams"


def _half(model: nn.Module, inputs: Any) -> Plan | None:
    """A plan whose open streams keep a random half of their channels; None where all are closed."""
    problem = _posed(model, inputs)
    if not problem.widths:
        return None
    content, chance = json.loads(make_plan(problem.swapping()).to_json()), random.Random(0)
    for row in content["streams"]:
        if row["action"] == "kept":
            channels = row["stream"]["channels"]
            kept = sorted(chance.sample(range(channels), channels // 2))
            row |= {"action": "narrowed", "kept": write_channels(kept), "reason": f"{channels} → {len(kept)} channels"}
    return read_plan(json.dumps(content))


def _posed(model: nn.Module, inputs: Any) -> Problem:
    """What may be narrowed, if damage could be told at every stream."""
    recipe = convsurgeon.Recipe(moves=("narrow", "streams"), target="macs=100%", width_multiple=1)
    return fully_narrowed(model, pose(convsurgeon.inspect(model, inputs), recipe))


def _deafened(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy whose readers have zeros for every channel that is gone."""
    twin = copy.deepcopy(model)
    for row in plan.narrowed:
        gone = set(range(row.stream.channels)) - set(row.channels)
        for reader in row.stream.readers:
            layer = twin.get_submodule(reader.name)
            weight: Tensor = layer.weight  # type: ignore[assignment]
            entries = [(reader.offset + channel) * reader.span + i for channel in gone for i in range(reader.span)]
            axis = 0 if isinstance(layer, TRANSPOSED) else 1
            weight.data.index_fill_(axis, torch.tensor(entries), 0)
    return twin


def _double(inputs: Any) -> Any:
    return tree_map_only(Tensor, lambda x: x.double() if x.is_floating_point() else x, inputs)
