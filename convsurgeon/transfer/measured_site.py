"""What each candidate spec would do to one site's output, from what was gathered of its inputs."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from convsurgeon.base.generators import seeded
from convsurgeon.families import family_of
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.family import Spec
from convsurgeon.families.regression.assessment import assess_both
from convsurgeon.families.regression.fitting import LinearFitting, StagedFitting
from convsurgeon.families.regression.gathering import Collected, Gathering
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import TINY
from convsurgeon.families.regression.problems import linears_of, problem_of, unknowns_of
from convsurgeon.families.regression.samples import HELD_ROWS, Samples
from convsurgeon.families.torch_convs import Conv, conv_shape
from convsurgeon.transfer.fit import dense_fit, ridge_for

__all__ = ["MeasuredSite"]


@dataclass(frozen=True)
class MeasuredSite:
    """A convolution of the original and its candidate ``specs``.

    ``norm_behind`` says that a batch norm follows that takes up means and scales; ``seed`` is that of fits.
    """

    conv: Conv
    specs: Sequence[Spec]
    norm_behind: bool
    seed: int

    @property
    def shape(self) -> ConvShape:
        """Of the convolution."""
        return conv_shape(self.conv)

    @property
    def unknowns(self) -> int:
        """Weights that one output of its linear problem has."""
        return unknowns_of(self.shape)

    @property
    def staged(self) -> bool:
        """Whether a candidate is fitted by stages, which need feature maps."""
        return any(isinstance(family_of(spec).fitting(), StagedFitting) for spec in self.specs)

    @property
    def moment_bytes(self) -> int:
        """Covariance in float64 and its copies while solving, and the held samples."""
        shape, unknowns = self.shape, self.unknowns
        return 8 * shape.groups * unknowns**2 + 4 * HELD_ROWS * (shape.groups * unknowns + shape.out_channels)

    def gathering(self) -> Gathering:
        """What collects its moments, group by group."""
        return Gathering(self.shape, *linears_of(self.conv, self.shape))

    def problems(self, collected: Sequence[Collected]) -> list[LinearSite]:
        """The linear problems of its groups, from one pass over the data, of which the moments can be taken once."""
        ridge = ridge_for(collected[0].fitted.count, self.unknowns)
        centred = self.shape.bias or self.norm_behind
        return [LinearSite.of(one, ridge, centred=centred) for one in collected]

    def by_moments(self, problems: Sequence[LinearSite]) -> dict[Spec, float]:
        """The errors of the specs that moments say all about."""
        errors: dict[Spec, float] = {}
        for fitting, family in self._families():
            if isinstance(fitting, LinearFitting):
                errors.update(self._of_groups(fitting, family, problems))
        return errors

    def least_by_stages(self, seen: Samples) -> dict[Spec, float]:
        """What the specs that are fitted by stages lose at least, told from float32 samples."""
        conv = copy.deepcopy(self.conv).float()
        least: dict[Spec, float] = {}
        for fitting, family in self._families():
            if isinstance(fitting, StagedFitting):
                with torch.no_grad():
                    least.update(fitting.least_damages(conv, family, seen, norm_behind=self.norm_behind))
        return least

    def by_stages(self, specs: Container[Spec], problem: LinearSite, maps: Samples) -> dict[Spec, float]:
        """The errors of those of the ``specs`` that are fitted by stages."""
        errors: dict[Spec, float] = {}
        for fitting, family in self._families():
            if isinstance(fitting, StagedFitting):
                wanted = [spec for spec in family if spec in specs]
                errors.update(self._fitted(fitting, wanted, problem, maps))
        return errors

    def _families(self) -> Iterator[tuple[LinearFitting[Any, Any] | StagedFitting[Any, Any], list[Spec]]]:
        """The specs of each family, with how it is fitted."""
        for name in dict.fromkeys(spec.family for spec in self.specs):
            family = [spec for spec in self.specs if spec.family == name]
            yield family_of(family[0]).fitting(), family

    def _of_groups(
        self, fitting: LinearFitting[Any, Any], specs: Sequence[Spec], sites: Sequence[LinearSite]
    ) -> dict[Spec, float]:
        """Every group's damage, together."""
        shape, whole = problem_of(self.shape), max(sum(site.spread for site in sites), TINY)
        inside = {spec.within(len(sites)): spec for spec in specs}
        found: dict[Spec, float] = dict.fromkeys(specs, 0.0)
        for site in sites:
            share = site.spread / whole if whole > TINY else 1 / len(sites)
            for spec, damage in fitting.damages(site, list(inside), shape, self.seed).items():
                found[inside[spec]] += damage * share
        return found

    def _fitted(
        self, fitting: StagedFitting[Any, Any], specs: Sequence[Spec], site: LinearSite, maps: Samples
    ) -> dict[Spec, float]:
        """Each unit is built, fitted, and run on the images held out."""
        dense, seen = dense_fit(self.conv, site.moments), maps.single()
        found: dict[Spec, float] = {}
        for spec in specs:
            with seeded(self.seed):
                module = family_of(spec).unit()(self.shape, spec).to(self.conv.weight.device)
                fitting.fit(module, dense, seen, norm_behind=self.norm_behind)
            fitted, held = assess_both(module, seen)
            scale, shift = (fitted.scale, fitted.shift) if self.norm_behind else (None, None)
            found[spec] = held.relative_error(scale, shift)
        return found
