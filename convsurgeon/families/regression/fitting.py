"""How a family gets weights into its units: from second moments alone, or stage by stage on feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.family import Spec
from convsurgeon.families.regression.dense_fit import DenseFit
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import Moments
from convsurgeon.families.regression.problems import side_by_side
from convsurgeon.families.regression.samples import Samples
from convsurgeon.families.torch_convs import Conv
from convsurgeon.families.unit import CompactConv

__all__ = ["LinearFitting", "StagedFitting", "StandIn", "balanced", "put"]

UnitT = TypeVar("UnitT", bound=CompactConv)
SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True)
class StandIn:
    """A structured map: ``weight`` [C_out, D] is what it applies, ``write`` puts it into its unit."""

    weight: Tensor
    write: Callable[[], None]


class LinearFitting(ABC, Generic[UnitT, SpecT]):
    """For units that are one structured linear map of each group's unfolded inputs: moments say all about a fit."""

    @abstractmethod
    def solve(self, unit: UnitT, weight: Tensor, moments: Moments, *, seed: int, sweeps: int) -> StandIn:
        """The best parameters of a unit of one group, for the convolution's ``weight`` [C_out, D] and these moments.

        ``sweeps``: rounds of improvement, where the family has no closed form for all of its parameters at once.
        """

    @abstractmethod
    def damages(self, site: LinearSite, specs: Sequence[SpecT], shape: ConvShape, seed: int) -> dict[SpecT, float]:
        """What each spec of one group would lose; ``shape`` is the group's own dense convolution."""

    @abstractmethod
    def write_bias(self, unit: UnitT, bias: Tensor) -> None:
        """Put an output bias [C_out] where the unit keeps it; nothing if it has none."""

    def join(self, unit: UnitT, parts: Sequence[UnitT]) -> None:
        """Write the weights and orders of ``parts``, one a group, into the whole unit; biases come separately."""
        if parts[0] is unit:
            return
        state = unit.state_dict()
        for key, values in side_by_side(unit, parts).items():
            state[key].copy_(self.joined(unit, key, values))

    def joined(self, unit: UnitT, key: str, values: Sequence[Tensor]) -> Tensor:
        """The tensor ``key`` of the whole unit from those of its parts."""
        return torch.cat(list(values))


class StagedFitting(ABC, Generic[UnitT, SpecT]):
    """For units whose parts feed one another: fitted one after the other, on feature maps."""

    @abstractmethod
    def least_damages(
        self, conv: Conv, specs: Sequence[SpecT], samples: Samples, *, norm_behind: bool
    ) -> dict[SpecT, float]:
        """Bounds that no fit in the place of ``conv`` (float32) comes below on these samples: cheap, so not tight."""

    @abstractmethod
    def fit(self, unit: UnitT, dense: DenseFit, samples: Samples, *, norm_behind: bool) -> None:
        """Set every parameter and order of a float32 unit; ``dense`` is the site's own best map.

        ``norm_behind``: a batch norm follows that takes up means and scales.
        """


def put(parameter: Tensor, values: Tensor) -> None:
    """Write values of any shape and dtype into a parameter."""
    with torch.no_grad():
        parameter.copy_(values.reshape(parameter.shape))


def balanced(primary: Tensor, secondary: Tensor) -> tuple[Tensor, Tensor]:
    """The same product of [R, D] and [C, R] with equal norms of each mid channel's two sides.

    Kind to half precision and to training.
    """
    ahead, behind = primary.norm(dim=1), secondary.norm(dim=0)
    scale = torch.where((ahead > 0) & (behind > 0), (behind / ahead.clamp(min=1e-300)).sqrt(), torch.ones(()).double())
    return primary * scale[:, None], secondary / scale
