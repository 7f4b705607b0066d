"""What a recipe asks for, be it by targets alone or by a floor."""

from __future__ import annotations

from convsurgeon.base.progress import Progress
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.oddities import oddities
from convsurgeon.conversion.patient import Patient
from convsurgeon.conversion.steps import carry_out, planned
from convsurgeon.conversion.to_floor import found_above
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.recipe import Recipe

__all__ = ["conversion_of", "plan_of"]


def plan_of(patient: Patient, recipe: Recipe, data: Data, *, progress: Progress | None = None) -> Plan:
    """The plan, with what a conversion would say of its inputs; a floor's is found by fitting and judging networks.

    Errors as in ``oddities``, ``found_above`` and ``planned``.
    """
    odd = oddities(patient, data)
    plan = (
        found_above(patient, recipe, data, progress=progress).plan
        if recipe.at_least
        else planned(patient, recipe, data, progress=progress)
    )
    return plan.model_copy(update={"notes": (*plan.notes, *odd)})


def conversion_of(
    patient: Patient, recipe: Recipe, data: Data, *, refine: int = 0, progress: Progress | None = None
) -> Conversion:
    """The converted network, errors as in ``found_above``, ``planned`` and ``carry_out``."""
    if recipe.at_least:
        return found_above(patient, recipe, data, refine=refine, progress=progress).conversion(patient, data)
    plan = planned(patient, recipe, data, progress=progress)
    return carry_out(patient, plan, data, seed=recipe.seed, refine=refine, progress=progress)
