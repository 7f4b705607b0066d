"""What a first calibrated conversion does by itself: ``auto`` with every move it takes, damage measured on inputs."""

from __future__ import annotations

from typing import Any

from torch import nn

import convsurgeon
from compatibility.calibrated import SLACK, answered, apart, finite, shaken
from compatibility.stages import LeftOut, Wrong
from compatibility.witness import params, ran
from convsurgeon.base.errors import NothingToConvert, TargetError

__all__ = ["planned"]

INPUTS = 24  # of which a fifth is held out, where fewer tell nothing of small maps
TARGET = "macs=85%"


def planned(model: nn.Module, inputs: Any, *, varying: bool = False) -> None:
    """Convert a shaken copy as a user would, on random inputs like these; ``model`` is untouched. Outputs that are
    ``varying`` in size (a detector's boxes) must be finite only.

    Raises:
        Wrong: more MACs or parameters than the plan says, outputs that are not finite, or further from the original's
            than without a fit on inputs.
        LeftOut: nothing to convert, a refused target, or outputs that can't be compared.
    """
    model = shaken(model)
    data, before = answered(model, inputs, INPUTS)
    try:
        made = convsurgeon.convert(model, inputs, target=TARGET, calibration=data)
    except NothingToConvert as reason:
        raise LeftOut("nothing to convert") from reason
    except TargetError as reason:
        raise LeftOut(f"{TARGET} is refused") from reason
    if params(made.model) != made.plan.after.params:
        raise Wrong(f"the plan says {made.plan.after.params:,} parameters, the witness {params(made.model):,}")
    after = [ran(made.model, each) for each in data]
    if not all(finite(each) for each in after):
        raise Wrong("the converted network's outputs are not finite")
    if varying:
        return
    if (macs := after[0].macs) != made.plan.after.macs:
        raise Wrong(f"the plan says {made.plan.after.macs:,} MACs, the witness {macs:,}")
    blind = convsurgeon.apply(model, made.plan, inputs).model
    ours, blinds = apart(before, after, [ran(blind, each) for each in data])
    if ours > SLACK * blinds:
        raise Wrong(f"output error {ours:.3g} calibrated, {blinds:.3g} without inputs")
