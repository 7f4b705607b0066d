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
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families.family import Spec
from convsurgeon.families.regression.moments import Gathering
from convsurgeon.families.regression.samples import Sample, Sampler, Samples
from convsurgeon.families.torch_convs import Conv
from convsurgeon.survey.roles import norms_behind
from convsurgeon.survey.sources import CONVS, plainly
from convsurgeon.transfer.batch_norm import keeps_statistics
from convsurgeon.transfer.calibration import Calibration, images_in
from convsurgeon.transfer.capture import evaluating, site_calls, watch_first
from convsurgeon.transfer.damage_file import DamageFile, Estimate, data_hash, spec_key, weights_hash
from convsurgeon.transfer.measured_site import MeasuredSite
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
        if (missing := [spec for spec in specs if spec_key(spec) not in kept.entries.get(name, {})])
    }
    if not open_requests:
        return DamageTable(kept.entries)
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
    return DamageTable({**kept.entries, **guesses})


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
        self.data = data
        self.settings = settings
        self.kept = kept

        def takes_up(name: str) -> bool:
            return name in norms and keeps_statistics(reference.get_submodule(norms[name]))

        self.sites = {
            name: MeasuredSite(_conv(reference, name), specs, takes_up(name), settings.seed)
            for name, specs in requests.items()
        }

    def run(self, traffic: Mapping[str, Traffic], progress: Progress) -> None:
        """Covariances of as many sites at once as memory allows, in one pass over the data each time."""
        names = list(self.sites)
        sizes = [site.moment_bytes for site in self.sites.values()]
        done = 0
        for group in groups_within(sizes, self.settings.memory_bytes):
            progress("measuring damage", done, len(names), names[group.start])
            gathered = self._gather({name: traffic[name] for name in names[group]})
            for maps in self._maps_of(names[group], traffic):
                for name in list(maps):
                    progress("measuring damage", done, len(names), name)
                    collected = gathered.pop(name).collected()
                    # Nothing may hold on to a site's maps while those of the next ones are read.
                    self.kept.add(name, self.sites[name].estimates(collected, maps.pop(name)))
                    done += 1
        progress("measuring damage", done, len(names), "")

    def _batches(self) -> Iterator[Inputs]:
        return self.data.fitting(self.reference)

    def _sampler(self, name: str, traffic: Traffic) -> Sampler:
        unknowns = self.sites[name].unknowns
        return Sampler(traffic.images, traffic.positions, unknowns, self.settings.seed, held_out=True)

    def _gather(self, traffic: Mapping[str, Traffic]) -> dict[str, Gathering]:
        gathered = {name: self.sites[name].gathering() for name in traffic}
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
        staged = {name for name in names if self.sites[name].staged}
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
        return traffic.input_bytes + traffic.sampled_bytes(self.sites[name].unknowns)

    def _keep_maps(self, traffic: Mapping[str, Traffic]) -> dict[str, list[Sample]]:
        kept: dict[str, list[Sample]] = {name: [] for name in traffic}
        # Later layers may overwrite the map that this one reads.
        self._sample(traffic, lambda name, sample: kept[name].append(replace(sample, x=sample.x.clone())))
        return kept

    def _maps(self, name: str, traffic: Traffic) -> Iterator[Sample]:
        """Maps that are too large to be kept: the network runs up to the site every time."""
        sampler, conv = self._sampler(name, traffic), self.sites[name].conv
        for inputs, calls in zip(self._batches(), traffic.calls, strict=True):
            for x in site_calls(self.reference, name, inputs, calls):
                yield sampler.sample(x, conv(x))


def _conv(model: nn.Module, name: str) -> Conv:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        module = None
    if not isinstance(module, CONVS):
        found = "nothing" if module is None else f"a {type(module).__name__}"
        raise UsageError(f"damage of '{name}' was asked for, where the model has {found}; expected a convolution.")
    return plainly(module)
