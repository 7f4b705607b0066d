"""Measured damage of every site and candidate, one site at a time on the original's own inputs.

It depends on no plan, so one measurement serves every later target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import UsageError
from convsurgeon.base.generators import seeded
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families import family_of
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.family import Spec
from convsurgeon.families.regression.assessment import assess_both
from convsurgeon.families.regression.dense_fit import DenseFit
from convsurgeon.families.regression.fitting import LinearFitting, StagedFitting
from convsurgeon.families.regression.linear_site import LinearSite
from convsurgeon.families.regression.moments import TINY, Collected, Gathering
from convsurgeon.families.regression.problems import linears_of, problem_of, unknowns_of
from convsurgeon.families.regression.samples import HELD_ROWS, Sample, Sampler, Samples
from convsurgeon.families.torch_convs import Conv, conv_shape
from convsurgeon.survey.roles import norms_behind
from convsurgeon.survey.sources import CONVS, plainly
from convsurgeon.transfer.batch_norm import keeps_statistics
from convsurgeon.transfer.calibration import Calibration, images_in
from convsurgeon.transfer.capture import evaluating, site_calls, watch_first
from convsurgeon.transfer.damage_file import DamageFile, Estimate, data_hash, spec_key, weights_hash
from convsurgeon.transfer.fit import dense_fit, ridge_for
from convsurgeon.transfer.traffic import Supply, Traffic, count_traffic, groups_within

__all__ = ["DamageSettings", "DamageTable", "measure_damage"]

MAPS_SHARE = 2

SupplyCallback = Callable[[Supply], None]


@dataclass(frozen=True)
class DamageSettings:
    """``seed`` draws the positions; ``memory_bytes`` bounds the covariances held at once, half of it the maps.

    ``directory`` keeps the results, one JSON file per model, weights, data and seed.
    """

    seed: int = 0
    memory_bytes: int = 1 << 30
    directory: Path | None = None


@dataclass(frozen=True)
class DamageTable:
    """Estimates by site name and spec."""

    estimates: Mapping[str, Mapping[str, Estimate]]

    def find(self, name: str, spec: Spec) -> Estimate | None:
        """The estimate, if that was measured."""
        return self.estimates.get(name, {}).get(spec_key(spec))

    def trusted(self, name: str, spec: Spec) -> float | None:
        """The damage, or None where it was not measured or is not reliable."""
        estimate = self.find(name, spec)
        return estimate.error if estimate is not None and estimate.reliable else None


def measure_damage(
    original: nn.Module,
    requests: Mapping[str, Sequence[Spec]],
    calibration: Iterable[Any] | Calibration,
    *,
    fingerprint: str = "",
    norms: Mapping[str, str] | None = None,
    settings: DamageSettings | None = None,
    counted: SupplyCallback | None = None,
    progress: Progress | None = None,
) -> DamageTable:
    """Estimate what each candidate spec of each site would do to that site's output.

    ``requests`` maps a convolution's name to its candidate specs. ``fingerprint`` and ``norms`` are the survey's; norms
    are read from the graph where they are not given. What the settings' directory holds for the same model, weights,
    data and seed is not measured again. Sites of which the inputs are too few to tell anything are not measured at all:
    their estimates are there, but not reliable. ``counted`` is called once that is known of the sites still to be
    measured, before anything is, and may raise. ``progress`` is told of every site. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none; a name that is no convolution.
        ModelRunError: the model fails on the calibration inputs.
    """
    settings = settings or DamageSettings()
    data = Calibration.of(calibration)
    reference = duplicate(original)
    key = (fingerprint, weights_hash(reference), data_hash(data.fitting(reference)), str(settings.seed))
    kept = DamageFile(settings.directory, key)
    open_requests = {
        name: missing
        for name, specs in requests.items()
        if (missing := [spec for spec in specs if spec_key(spec) not in kept.sites.get(name, {})])
    }
    if not open_requests:
        return DamageTable(kept.sites)
    with evaluating(reference):
        supply = _supply(reference, list(open_requests), data)
        if counted is not None:
            counted(supply)
        told = {name: specs for name, specs in open_requests.items() if supply.enough(name)}
        if told:
            known = norms_behind(reference) if norms is None else norms
            measurement = _Measurement(reference, told, data, settings, kept, known)
            measurement.run(supply.sites, progress or silent)
    guesses = {name: _untold(specs, supply.sites[name]) for name, specs in open_requests.items() if name not in told}
    return DamageTable({**kept.sites, **guesses})


def _supply(reference: nn.Module, names: Sequence[str], data: Calibration) -> Supply:
    for name in names:
        _conv(reference, name)
    inputs = 0

    def batches() -> Iterator[Inputs]:
        nonlocal inputs
        for batch in data.fitting(reference):
            inputs += images_in(batch)
            yield batch

    return Supply(count_traffic(reference, names, batches()), inputs)


def _untold(specs: Sequence[Spec], traffic: Traffic) -> dict[str, Estimate]:
    """As bad as can be, and not to be believed."""
    samples = traffic.positions - traffic.held
    return {spec_key(spec): Estimate(1.0, samples, traffic.held, reliable=False) for spec in specs}


class _Measurement:
    """One run over the sites that the file does not hold yet."""

    def __init__(
        self,
        reference: nn.Module,
        requests: Mapping[str, Sequence[Spec]],
        data: Calibration,
        settings: DamageSettings,
        kept: DamageFile,
        norms: Mapping[str, str],
    ) -> None:
        self.reference = reference
        self.requests = requests
        self.data = data
        self.settings = settings
        self.kept = kept
        self.convs = {name: _conv(reference, name) for name in requests}
        self.shapes = {name: conv_shape(conv) for name, conv in self.convs.items()}
        self.norms = {
            name: name in norms and keeps_statistics(reference.get_submodule(norms[name])) for name in requests
        }

    def run(self, traffic: Mapping[str, Traffic], progress: Progress) -> None:
        """Covariances of as many sites at once as memory allows, in one pass over the data each time."""
        names = list(self.requests)
        sizes = [_bytes(self.shapes[name]) for name in names]
        done = 0
        for group in groups_within(sizes, self.settings.memory_bytes):
            progress("measuring damage", done, len(names), names[group.start])
            gathered = self._gather({name: traffic[name] for name in names[group]})
            for maps in self._maps_of(names[group], traffic):
                for name in list(maps):
                    progress("measuring damage", done, len(names), name)
                    collected = gathered.pop(name).collected()
                    # Nothing may hold on to a site's maps while those of the next ones are read.
                    self.kept.add(name, self._estimates(name, collected, maps.pop(name)))
                    done += 1
        progress("measuring damage", done, len(names), "")

    def _batches(self) -> Iterator[Inputs]:
        return self.data.fitting(self.reference)

    def _sampler(self, name: str, traffic: Traffic) -> Sampler:
        unknowns = unknowns_of(self.shapes[name])
        return Sampler(traffic.images, traffic.positions, unknowns, self.settings.seed, held_out=True)

    def _gather(self, traffic: Mapping[str, Traffic]) -> dict[str, Gathering]:
        gathered = {name: self._gathering(name) for name in traffic}
        self._sample(traffic, lambda name, sample: gathered[name].add(sample))
        return gathered

    def _sample(self, traffic: Mapping[str, Traffic], take: Callable[[str, Sample], None]) -> None:
        """One pass over the data, as far as these sites; the maps in the samples are the network's own."""

        def watcher(name: str, sampler: Sampler) -> Callable[[Tensor, Tensor], None]:
            return lambda x, y: take(name, sampler.sample(x, y))

        watchers = {name: watcher(name, self._sampler(name, seen)) for name, seen in traffic.items()}
        for number, inputs in enumerate(self._batches() if watchers else ()):
            calls = {name: seen.calls[number] for name, seen in traffic.items()}
            watch_first(self.reference, watchers, calls, inputs)

    def _maps_of(self, names: Sequence[str], traffic: Mapping[str, Traffic]) -> Iterator[dict[str, Samples]]:
        """Samples with the input maps, which fits by stages need: for as many sites at once as memory allows."""
        staged = {name for name in names if any(_staged(spec) for spec in self.requests[name])}
        sizes = [self._sample_bytes(name, traffic[name]) if name in staged else 0 for name in names]
        budget = self.settings.memory_bytes // MAPS_SHARE
        for part in groups_within(sizes, budget):
            inside = names[part]
            fitting = sum(sizes[part]) <= budget
            kept = self._keep_maps({name: traffic[name] for name in inside if name in staged and fitting})
            yield {
                name: Samples(kept.pop(name).__iter__ if name in kept else partial(self._maps, name, traffic[name]))
                for name in inside
            }

    def _sample_bytes(self, name: str, traffic: Traffic) -> int:
        return traffic.input_bytes + traffic.sampled_bytes(unknowns_of(self.shapes[name]))

    def _keep_maps(self, traffic: Mapping[str, Traffic]) -> dict[str, list[Sample]]:
        kept: dict[str, list[Sample]] = {name: [] for name in traffic}
        # Later layers may overwrite the map that this one reads.
        self._sample(traffic, lambda name, sample: kept[name].append(replace(sample, x=sample.x.clone())))
        return kept

    def _gathering(self, name: str) -> Gathering:
        return Gathering(self.shapes[name], *linears_of(self.convs[name], self.shapes[name]))

    def _estimates(self, name: str, collected: Sequence[Collected], maps: Samples) -> dict[str, Estimate]:
        """The errors of all of a site's specs."""
        samples, held = collected[0].fitted.count, len(collected[0].held_u)
        sites = self._linear_sites(name, collected)
        errors: dict[Spec, float] = {}
        for fitting, family in _by_family(self.requests[name]):
            if isinstance(fitting, LinearFitting):
                errors.update(self._by_moments(fitting, name, family, sites))
            else:
                dense = dense_fit(self.convs[name], sites[0].moments)
                errors.update(self._by_stages(fitting, name, family, dense, maps))
        return {spec_key(spec): Estimate(error, samples, held, reliable=True) for spec, error in errors.items()}

    def _linear_sites(self, name: str, collected: Sequence[Collected]) -> list[LinearSite]:
        """One for each group of the convolution."""
        ridge = ridge_for(collected[0].fitted.count, unknowns_of(self.shapes[name]))
        centred = self.shapes[name].bias or self.norms[name]
        return [LinearSite.of(one, ridge, centred=centred) for one in collected]

    def _by_moments(
        self, fitting: LinearFitting[Any, Any], name: str, specs: Sequence[Spec], sites: Sequence[LinearSite]
    ) -> dict[Spec, float]:
        """Every group's damage, together."""
        shape, whole = problem_of(self.shapes[name]), max(sum(site.spread for site in sites), TINY)
        inside = {spec.within(len(sites)): spec for spec in specs}
        found: dict[Spec, float] = dict.fromkeys(specs, 0.0)
        for site in sites:
            share = site.spread / whole if whole > TINY else 1 / len(sites)
            for spec, damage in fitting.damages(site, list(inside), shape, self.settings.seed).items():
                found[inside[spec]] += damage * share
        return found

    def _by_stages(
        self, fitting: StagedFitting[Any], name: str, specs: Sequence[Spec], dense: DenseFit, samples: Samples
    ) -> dict[Spec, float]:
        """Stages need feature maps, so each unit is built, fitted, and run on the images held out."""
        conv, norm, seen = self.convs[name], self.norms[name], samples.single()
        found: dict[Spec, float] = {}
        for spec in specs:
            with seeded(self.settings.seed):
                module = family_of(spec).unit()(self.shapes[name], spec).to(conv.weight.device)
                fitting.fit(module, dense, seen, norm_behind=norm)
            fitted, held = assess_both(module, seen)
            found[spec] = held.relative_error(fitted.scale, fitted.shift) if norm else held.relative_error()
        return found

    def _maps(self, name: str, traffic: Traffic) -> Iterator[Sample]:
        """Maps that are too large to be kept: the network runs up to the site every time."""
        sampler, conv = self._sampler(name, traffic), self.convs[name]
        for inputs, calls in zip(self._batches(), traffic.calls, strict=True):
            for x in site_calls(self.reference, name, inputs, calls):
                yield sampler.sample(x, conv(x))


def _staged(spec: Spec) -> bool:
    return isinstance(family_of(spec).fitting(), StagedFitting)


def _by_family(specs: Sequence[Spec]) -> Iterator[tuple[LinearFitting[Any, Any] | StagedFitting[Any], list[Spec]]]:
    """The specs of each family, with how it is fitted; specs that learn lose nothing, whatever their family's fit."""
    for name in dict.fromkeys(spec.family for spec in specs):
        family = [spec for spec in specs if spec.family == name]
        yield family_of(family[0]).fitting(), family


def _conv(model: nn.Module, name: str) -> Conv:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        module = None
    if not isinstance(module, CONVS):
        found = "nothing" if module is None else f"a {type(module).__name__}"
        raise UsageError(f"damage of '{name}' was asked for, where the model has {found}; expected a convolution.")
    return plainly(module)


def _bytes(shape: ConvShape) -> int:
    """Covariance in float64 and its copies while solving, and the held samples."""
    unknowns = unknowns_of(shape)
    return 8 * shape.groups * unknowns**2 + 4 * HELD_ROWS * (shape.groups * unknowns + shape.out_channels)
