"""One measurement of damage: moments of many sites in one pass, then maps of those that need them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress
from convsurgeon.families.family import Spec
from convsurgeon.families.regression.gathering import Gathering
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.samples import Sample, Sampler, Samples
from convsurgeon.families.torch_convs import Conv
from convsurgeon.survey.sources import CONVS, plainly
from convsurgeon.transfer.batch_norm import keeps_statistics
from convsurgeon.transfer.calibration import Calibration
from convsurgeon.transfer.capture import site_calls, watch_first
from convsurgeon.transfer.damage_file import DamageFile, Estimate, spec_key
from convsurgeon.transfer.glimpse import Glimpse
from convsurgeon.transfer.measured_site import MeasuredSite
from convsurgeon.transfer.rivals import Costs, beaten
from convsurgeon.transfer.traffic import Traffic, groups_within

__all__ = ["DamageSettings", "Measurement", "conv_at"]

MAPS_SHARE = 2


@dataclass(frozen=True)
class DamageSettings:
    """``seed`` draws the positions; ``memory_bytes`` bounds the covariances held at once, half of it the maps.

    ``directory`` keeps the results, one JSON file per model, weights, data and seed.
    """

    seed: int = 0
    memory_bytes: int = 1 << 30
    directory: Path | None = None


class Measurement:
    """One run over the sites that the file does not hold yet."""

    def __init__(
        self,
        reference: nn.Module,
        requests: Mapping[str, Sequence[Spec]],
        data: Calibration,
        settings: DamageSettings,
        kept: DamageFile,
        norms: Mapping[str, str],
        costs: Mapping[str, Costs],
    ) -> None:
        self.reference = reference
        self.data = data
        self.settings = settings
        self.kept = kept
        self.costs = costs
        self.sites = {
            name: MeasuredSite(
                conv_at(reference, name), specs, keeps_statistics(reference, norms.get(name)), settings.seed
            )
            for name, specs in requests.items()
        }

    def run(self, traffic: Mapping[str, Traffic], progress: Progress) -> None:
        """Covariances of as many sites at once as memory allows, in one pass over the data each time."""
        names = list(self.sites)
        sizes = [site.moment_bytes for site in self.sites.values()]
        done = 0
        for group in groups_within(sizes, self.settings.memory_bytes):
            progress("measuring damage", done, len(names), names[group.start])
            gathered, glimpses = self._gather({name: traffic[name] for name in names[group]})
            left: dict[str, tuple[LinearSite, set[Spec]]] = {}
            for name in names[group]:
                progress("measuring damage", done, len(names), name)
                problems = self.sites[name].problems(gathered.pop(name).collected())
                if staged := self._measure(name, problems, glimpses.pop(name, None)):
                    left[name] = problems[0], staged
                else:
                    done += 1
            for maps in self._maps_of(list(left), traffic):
                for name in list(maps):
                    progress("measuring damage", done, len(names), name)
                    problem, staged = left.pop(name)
                    # Nothing may hold on to a site's maps while those of the next ones are read.
                    self._keep(name, problem, self.sites[name].by_stages(staged, problem, maps.pop(name)))
                    done += 1
        progress("measuring damage", done, len(names), "")

    def _measure(self, name: str, problems: Sequence[LinearSite], glimpse: Glimpse | None) -> set[Spec]:
        """Keep what moments say of a site, and what they rule out; the specs that are still to be fitted by stages."""
        site, costs = self.sites[name], self.costs.get(name, {})
        errors = site.by_moments(problems)
        least = {} if glimpse is None else site.least_by_stages(glimpse.samples())
        rivals = self.kept.errors(name, costs) | errors
        out = {spec: error for spec, error in least.items() if beaten(spec, error, rivals, costs)}
        self._keep(name, problems[0], errors | out, out)
        return set(site.specs) - errors.keys() - out.keys()

    def _keep(self, name: str, problem: LinearSite, errors: Mapping[Spec, float], out: Container[Spec] = ()) -> None:
        samples, held = problem.moments.count, len(problem.held_u)
        found = {
            spec_key(spec): Estimate(error, samples, held, reliable=True, fitted=spec not in out)
            for spec, error in errors.items()
        }
        self.kept.add(name, found)

    def _batches(self) -> Iterator[Inputs]:
        return self.data.fitting(self.reference)

    def _sampler(self, name: str, traffic: Traffic) -> Sampler:
        unknowns = self.sites[name].unknowns
        return Sampler(traffic.images, traffic.positions, unknowns, self.settings.seed, held_out=True)

    def _gather(self, traffic: Mapping[str, Traffic]) -> tuple[dict[str, Gathering], dict[str, Glimpse]]:
        """Moments of every site, and a few images of those that have something to rule out."""
        gathered = {name: self.sites[name].gathering() for name in traffic}
        glimpses = {
            name: Glimpse(seen, self.sites[name].unknowns, self.settings.seed)
            for name, seen in traffic.items()
            if self.sites[name].staged and self.costs.get(name)
        }

        def take(name: str, sample: Sample, y: Tensor) -> None:
            gathered[name].add(sample)
            if name in glimpses:
                glimpses[name].add(sample.x, y)

        self._sample(traffic, take)
        return gathered, glimpses

    def _sample(self, traffic: Mapping[str, Traffic], take: Callable[[str, Sample, Tensor], None]) -> None:
        """One pass over the data, as far as these sites; the maps, of the samples too, are the network's own."""

        def watcher(name: str, sampler: Sampler) -> Callable[[Tensor, Tensor], None]:
            return lambda x, y: take(name, sampler.sample(x, y), y)

        watchers = {name: watcher(name, self._sampler(name, seen)) for name, seen in traffic.items()}
        for number, inputs in enumerate(self._batches() if watchers else ()):
            calls = {name: seen.calls[number] for name, seen in traffic.items()}
            watch_first(self.reference, watchers, calls, inputs)

    def _maps_of(self, names: Sequence[str], traffic: Mapping[str, Traffic]) -> Iterator[dict[str, Samples]]:
        """Samples with the input maps, which fits by stages need: for as many sites at once as memory allows."""
        sizes = [traffic[n].input_bytes + traffic[n].sampled_bytes(self.sites[n].unknowns) for n in names]
        budget = self.settings.memory_bytes // MAPS_SHARE
        for part in groups_within(sizes, budget):
            inside = names[part]
            fitting = sum(sizes[part]) <= budget
            kept = self._keep_maps({name: traffic[name] for name in inside if fitting})
            yield {
                name: Samples(kept.pop(name).__iter__ if name in kept else partial(self._maps, name, traffic[name]))
                for name in inside
            }

    def _keep_maps(self, traffic: Mapping[str, Traffic]) -> dict[str, list[Sample]]:
        kept: dict[str, list[Sample]] = {name: [] for name in traffic}
        # Later layers may overwrite the map that this one reads.
        self._sample(traffic, lambda name, sample, _: kept[name].append(replace(sample, x=sample.x.clone())))
        return kept

    def _maps(self, name: str, traffic: Traffic) -> Iterator[Sample]:
        """Maps that are too large to be kept: the network runs up to the site every time."""
        sampler, conv = self._sampler(name, traffic), self.sites[name].conv
        for inputs, calls in zip(self._batches(), traffic.calls, strict=True):
            for x in site_calls(self.reference, name, inputs, calls):
                yield sampler.sample(x, conv(x))


def conv_at(model: nn.Module, name: str) -> Conv:
    """A model's convolution by name.

    Raises:
        UsageError: there is none.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError:
        module = None
    if not isinstance(module, CONVS):
        found = "nothing" if module is None else f"a {type(module).__name__}"
        raise UsageError(f"damage of '{name}' was asked for, where the model has {found}; expected a convolution.")
    return plainly(module)
