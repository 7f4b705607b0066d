"""After surgery: counted cost = planned cost, outputs of the same shapes, every untouched weight bit-equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial

import torch
from torch import nn

from convsurgeon.base.errors import ConvsurgeonError, ModelRunError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.observe import After, observe
from convsurgeon.families.cost import Cost
from convsurgeon.planning.plan import Plan
from convsurgeon.survey.counting import count_params, run_on_copy
from convsurgeon.survey.sites import Survey

__all__ = ["verify"]


def verify(
    original: nn.Module,
    converted: nn.Module,
    plan: Plan,
    survey: Survey,
    inputs: Inputs,
    recalibrated: Collection[str] = (),
) -> tuple[str, ...]:
    """Check a conversion by running it; returns notes for the report.

    ``recalibrated`` names the modules (batch norms) whose state was changed on purpose. Where the cost depends on
    the data (a detector's proposals), only parameters are compared and a note says so.

    Raises:
        ModelRunError: the converted model fails on the inputs that the original accepts, or no longer calls a layer.
        ConvsurgeonError: a check fails; that is a bug of this program.
    """
    touched = {row.name for row in plan.replaced} | {name for row in plan.narrowed for name in row.stream.members}
    touched |= {name for row in plan.dropped for name in row.block.parts}
    _untouched_equal(original, converted, touched | set(recalibrated))
    calls: Counter[str] = Counter()
    try:
        run = run_on_copy(converted, inputs, partial(_count_calls, plan, calls))
    except ModelRunError as error:
        raise ModelRunError(
            f"the model ran before surgery and fails after it: {error} Code that reads a convolution's weight or "
            "other attributes is the usual cause; keep that layer with --skip NAME."
        ) from error
    uncalled = [row.name for row in plan.replaced if row.calls and not calls[row.name]]
    if run.counted_on == "meta":
        _refuse_uncalled(uncalled)
    counted, planned = Cost(run.macs, count_params(converted)), plan.after.cost()
    if counted.params != planned.params:
        raise ConvsurgeonError(f"counted {counted.params:,} parameters after surgery, planned {planned.params:,}")
    if run.counted_on == "device" and (counted.macs != planned.macs or run.outputs != survey.outputs):
        return (
            f"the cost depends on the data: {planned.macs:,} MACs planned from the original's run, "
            f"{counted.macs:,} counted in the converted model's own run"
            + (f", which no longer calls {', '.join(uncalled)}" if uncalled else ""),
        )
    if counted.macs != planned.macs:
        raise ConvsurgeonError(f"counted {counted.macs:,} MACs after surgery, planned {planned.macs:,}")
    if run.outputs != survey.outputs:
        raise ConvsurgeonError(f"outputs were {', '.join(survey.outputs)}, now {', '.join(run.outputs)}")
    return ()


def _count_calls(plan: Plan, calls: Counter[str], copy: nn.Module) -> None:
    calls.clear()

    def counting(name: str) -> After:
        def count(*_: object) -> None:
            calls[name] += 1

        return count

    observe(after=[(copy.get_submodule(row.name), counting(row.name)) for row in plan.replaced])


def _refuse_uncalled(names: Sequence[str]) -> None:
    if names:
        kept = " ".join(f"--skip {name}" for name in names)
        raise ModelRunError(
            f"no longer called after surgery, though the original's forward calls them: {', '.join(names)}. Code that "
            "tests a layer's type (isinstance(layer, nn.Conv2d)) is the usual cause; keep such layers with "
            f"{kept} (Rules(skip=…) in Python)."
        )


def _untouched_equal(original: nn.Module, converted: nn.Module, touched: Collection[str]) -> None:
    new = dict(converted.named_modules(remove_duplicate=False))
    for name, module in original.named_modules():
        if name in touched or any(name.startswith(f"{t}.") for t in touched):
            continue
        tensors = {**module._parameters, **module._buffers}
        for key, tensor in tensors.items():
            other = getattr(new[name], key)
            if tensor is None and other is None:
                continue
            if tensor is None or other is None or not _bit_equal(tensor, other):
                raise ConvsurgeonError(f"'{name}.{key}' changed, though the plan does not touch it")


def _bit_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.is_meta or b.is_meta:
        return a.shape == b.shape
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    # Compared as bytes, because NaN is not equal to itself.
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
