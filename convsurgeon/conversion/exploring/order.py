"""What is asked for when results are to be explored."""

from __future__ import annotations

from dataclasses import dataclass

from convsurgeon.conversion.data import Data
from convsurgeon.conversion.patient import Patient
from convsurgeon.planning.grid import Grid
from convsurgeon.planning.recipe import Recipe

__all__ = ["Order"]


@dataclass(frozen=True)
class Order:
    """What to explore, of which model, on which inputs; the grid's methods and targets replace the recipe's."""

    patient: Patient
    recipe: Recipe
    grid: Grid
    data: Data
    refine: int = 0
