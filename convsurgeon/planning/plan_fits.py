"""Whether a plan was made for a model and its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.stream_fits import check_blocks, check_streams

if TYPE_CHECKING:
    from convsurgeon.survey.sites import Site, Survey

__all__ = ["check_fits"]


def check_fits(plan: Plan, survey: Survey) -> None:
    """Refuse a model, or inputs, that the plan was not made for.

    Raises:
        UnknownName: names the first layer that differs.
        UsageError: inputs of other shapes, for which the plan's costs do not hold.
    """
    found = {site.name: site for site in survey.sites}
    for layer in plan.layers:
        site = found.get(layer.name)
        if site is None:
            raise UnknownName(f"the plan was made for another model: '{layer.name}' is not in this one.")
        if site.shape != layer.shape or site.kind != layer.kind:
            raise UnknownName(
                f"the plan was made for another model: '{layer.name}' is {site.kind} {site.shape.describe()} "
                f"here and {layer.kind} {layer.shape.describe()} in the plan."
            )
    if extra := sorted(set(found) - {layer.name for layer in plan.layers}):
        raise UnknownName(f"the plan was made for another model: it does not know '{extra[0]}'.")
    check_streams(plan.streams, plan.linears, survey)
    check_blocks(plan.blocks, plan.linears, survey)
    _check_inputs(plan, survey)
    if plan.counted_on == survey.counted_on == "meta":
        _check_counts(plan, found)
        if plan.before.cost() != survey.total:
            raise UsageError(
                f"the plan says that the model has {plan.before.macs:,} MACs and {plan.before.params:,} "
                f"parameters; it has {survey.total.macs:,} and {survey.total.params:,}. Edit only specs and "
                "actions, or make a new plan."
            )


def _check_inputs(plan: Plan, survey: Survey) -> None:
    if survey.input_shapes != plan.input_shapes:
        planned, given = (
            ", ".join(str(list(shape)) for shape in shapes) for shapes in (plan.input_shapes, survey.input_shapes)
        )
        raise UsageError(
            f"the plan was made for inputs {planned}, these are {given}: its costs hold for the former only. "
            "Pass inputs of those shapes (--input N,C,H,W on the command line), or make a new plan."
        )


def _check_counts(plan: Plan, found: dict[str, Site]) -> None:
    """Costs are priced from these, so a changed one would be a wrong cost."""
    for layer in plan.layers:
        site = found[layer.name]
        here = (site.calls, site.positions, site.cost)
        planned = (layer.calls, layer.positions, layer.before.cost())
        if here != planned:
            raise UsageError(
                f"the plan says of '{layer.name}': {layer.calls} calls, {layer.positions} positions, "
                f"{layer.before.macs:,} MACs, {layer.before.params:,} parameters; this model has {site.calls}, "
                f"{site.positions}, {site.cost.macs:,} and {site.cost.params:,}. Edit only specs and actions, or "
                "make a new plan."
            )
