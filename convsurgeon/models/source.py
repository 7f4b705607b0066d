"""What a source of models is: it takes names of its kind, lists those it knows, and finds the model behind one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.models.weights import WeightedModel, WeightsRequest

__all__ = ["ModelSource", "NamedModel"]


class NamedModel(Protocol):
    """A model that was found by its name and is not built yet."""

    @property
    def spec(self) -> str:
        """The name, normalised."""
        ...

    @property
    def states_inputs(self) -> bool:
        """Whether it is known what the model is called with."""
        ...

    def build(self) -> nn.Module:
        """The architecture, with random weights."""
        ...

    def load(self, request: WeightsRequest, seed: int) -> WeightedModel:
        """The model with the weights asked for."""
        ...

    def inputs(self, shape: tuple[int, ...] | None, seed: int, model: nn.Module | None = None) -> Inputs:
        """Example inputs of batch 1."""
        ...


@dataclass(frozen=True)
class ModelSource:
    """One place where models come from.

    Attributes:
        form: how its names look, for messages.
        takes: whether a name is one of its own.
        names: all names that it knows, for globs and near matches; none where nobody can list them.
        find: the model behind a name; raises UnknownName with near matches.
        is_code: whether finding one runs code of the caller's.
    """

    form: str
    takes: Callable[[str], bool]
    names: Callable[[], list[str]]
    find: Callable[[str], NamedModel]
    is_code: bool = False
