"""From a model's name to a model, its weights and example inputs."""

from convsurgeon.models.loading import (
    LoadedModel,
    build_model,
    default_inputs,
    is_factory,
    known_models,
    load_model,
)
from convsurgeon.models.weights import WeightsOrigin, load_strictly

__all__ = [
    "LoadedModel",
    "WeightsOrigin",
    "build_model",
    "default_inputs",
    "is_factory",
    "known_models",
    "load_model",
    "load_strictly",
]
