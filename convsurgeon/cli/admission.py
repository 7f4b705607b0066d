"""A model by its recipe, loaded and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convsurgeon.base.errors import UsageError
from convsurgeon.base.outside_text import in_unicode
from convsurgeon.cli.screen import warn, working

if TYPE_CHECKING:
    from convsurgeon.conversion.patient import Patient
    from convsurgeon.models.loading import LoadedModel
    from convsurgeon.planning.recipe import Recipe

__all__ = ["admit", "load"]


def load(recipe: Recipe, device: str) -> LoadedModel:
    """The model that a recipe names, with a warning where its weights turned out random.

    Raises:
        UsageError: a plan, which names the model and its weights, could not say how.
    """
    for name in (recipe.model or "", recipe.weights):
        if in_unicode(name) != name:
            raise UsageError(
                f"the path '{name}' is no text in UTF-8, so no plan or report can name it. Rename it, or go into its "
                "folder and leave that out; where only the locale is not UTF-8, set PYTHONUTF8=1."
            )
    with working(f"loading {recipe.model}"):
        from convsurgeon.cli.loading import load_telling

        loaded = load_telling(
            recipe.model or "",
            weights=recipe.weights,
            weights_key=recipe.weights_key,
            input_shape=recipe.input,
            device=device,
            seed=recipe.seed,
        )
    if loaded.weights.origin == "random" and recipe.weights != "none":
        warn(
            f"{loaded.spec} has RANDOM weights ({loaded.weights.detail.removeprefix('random: ')}): the result "
            "computes nothing useful. Use --weights FILE or --weights DEFAULT."
        )
    return loaded


def admit(loaded: LoadedModel) -> Patient:
    """The loaded model, surveyed and counted."""
    with working(f"counting {loaded.spec}"):
        from convsurgeon.conversion.patient import Patient
        from convsurgeon.models.rebuild import Rebuild

        rebuild = Rebuild.of(loaded.spec)
        return Patient.admit(loaded.model, loaded.example_inputs, loaded.weights, name=loaded.spec, rebuild=rebuild)
