"""What people should know before they go on with a converted network."""

from __future__ import annotations

from torch import nn

from convsurgeon.planning.plan import Plan
from convsurgeon.survey.sites import Survey

__all__ = ["fuse_first", "only_cut"]


def fuse_first(model: nn.Module, survey: Survey, plan: Plan) -> tuple[str, ...]:
    """A note where the model's own fuse method would meet a replaced convolution later."""
    fuser = next((name for name in ("fuse_model", "fuse") if callable(getattr(type(model), name, None))), None)
    replaced = {row.name for row in plan.replaced}
    if fuser is None or not any(site.norm for site in survey.sites if site.name in replaced):
        return ()
    return (f"call {fuser}() before the conversion if the network shall be fused: it knows no compact convolutions",)


def only_cut(plan: Plan) -> tuple[str, ...]:
    """Notes on streams that were narrowed, and branches that were dropped, without calibration inputs."""
    without = "without calibration inputs (--calibrate DIR, calibration= in Python)"
    narrowed = f"{len(plan.narrowed)} narrowed streams were only cut: {without} no layer that reads them makes up for"
    dropped = f"{len(plan.dropped)} residual branches were only left out: {without} nothing makes up for"
    notes = ((plan.narrowed, narrowed), (plan.dropped, dropped))
    return tuple(f"{note} what is gone" for rows, note in notes if rows)
