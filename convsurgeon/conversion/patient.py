"""Who is operated on: a model with all that is known of it before the operation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.rebuild import Rebuild
from convsurgeon.survey.sites import Survey, survey
from convsurgeon.survey.usable import refuse_unfinite

__all__ = ["Patient"]


@dataclass(frozen=True)
class Patient:
    """A model on the table: what it is called with, what was found in it, where it and its weights come from.

    ``rebuild`` is what builds the architecture again; None for a caller's own object.
    """

    model: nn.Module
    inputs: Inputs
    survey: Survey
    weights: WeightsOrigin
    name: str = "model"
    rebuild: Rebuild | None = None

    @classmethod
    def admit(
        cls,
        model: nn.Module,
        inputs: Inputs,
        weights: WeightsOrigin,
        *,
        name: str = "model",
        rebuild: Rebuild | None = None,
    ) -> Patient:
        """Survey a model; it is untouched.

        Raises:
            ModelLoadError, ModelRunError: see ``sites.survey``; trained weights that are not finite.
        """
        found = survey(model, inputs)
        if weights.origin != "random":
            refuse_unfinite(model)
        return cls(model, inputs, found, weights, name, rebuild)

    @property
    def untrained(self) -> bool:
        """Whether its weights are random, so that nothing is worth carrying over."""
        return self.weights.origin == "random"
