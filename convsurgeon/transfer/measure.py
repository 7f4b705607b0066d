"""Measured damage of every site and candidate, one site at a time on the original's own inputs.

It depends on no plan, so one measurement serves every later target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families.family import Spec
from convsurgeon.survey.roles import norms_behind
from convsurgeon.transfer.calibration import Calibration, images_in
from convsurgeon.transfer.capture import evaluating
from convsurgeon.transfer.damage_file import DamageFile, Estimate, data_hash, spec_key, weights_hash
from convsurgeon.transfer.measurement import DamageSettings, Measurement, conv_at
from convsurgeon.transfer.rivals import Costs, beaten
from convsurgeon.transfer.traffic import Supply, Traffic, count_traffic

__all__ = ["DamageSettings", "DamageTable", "measure_damage"]

SupplyCallback = Callable[[Supply], None]


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
        return estimate.error if estimate is not None and estimate.reliable and estimate.fitted else None


def measure_damage(
    original: nn.Module,
    requests: Mapping[str, Sequence[Spec]],
    calibration: Iterable[Any] | Calibration,
    *,
    fingerprint: str = "",
    norms: Mapping[str, str] | None = None,
    costs: Mapping[str, Costs] | None = None,
    settings: DamageSettings | None = None,
    counted: SupplyCallback | None = None,
    progress: Progress | None = None,
) -> DamageTable:
    """Estimate what each candidate spec of each site would do to that site's output.

    ``requests`` maps a convolution's name to its candidate specs. ``fingerprint`` and ``norms`` are the survey's; norms
    are read from the graph where they are not given. What the settings' directory holds for the same model, weights,
    data and seed is not measured again. Sites of which the inputs are too few to tell anything are not measured at all:
    their estimates are there, but not reliable. ``costs`` are what each site's candidates cost in all that budgets are
    in: given these, a candidate that is dear to fit and surely beaten by another one is not fitted. ``counted`` is
    called once that is known of the sites still to be measured, before anything is, and may raise. ``progress`` is
    told of every site. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none; a name that is no convolution.
        ModelRunError: the model fails on the calibration inputs.
    """
    settings = settings or DamageSettings()
    data = Calibration.of(calibration)
    reference = duplicate(original)
    key = (fingerprint, weights_hash(reference), data_hash(data.fitting(reference)), str(settings.seed))
    kept = DamageFile(settings.directory, key)
    costs = costs or {}
    open_requests = {
        name: missing
        for name, specs in requests.items()
        if (missing := _missing(name, specs, kept, costs.get(name, {})))
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
            measurement = Measurement(reference, told, data, settings, kept, known, costs)
            measurement.run(supply.sites, progress or silent)
    guesses = {name: _untold(specs, supply.sites[name]) for name, specs in open_requests.items() if name not in told}
    return DamageTable({**kept.entries, **guesses})


def _supply(reference: nn.Module, names: Sequence[str], data: Calibration) -> Supply:
    for name in names:
        conv_at(reference, name)
    inputs = 0

    def batches() -> Iterator[Inputs]:
        nonlocal inputs
        for batch in data.fitting(reference):
            inputs += images_in(batch)
            yield batch

    return Supply(count_traffic(reference, names, batches()), inputs)


def _missing(name: str, specs: Sequence[Spec], kept: DamageFile, costs: Costs) -> list[Spec]:
    """The specs of a site that are neither measured nor beaten by others that are."""
    errors, entries = kept.errors(name, specs), kept.entries.get(name, {})

    def out(spec: Spec) -> bool:
        entry = entries.get(spec_key(spec))
        return entry is not None and beaten(spec, entry.error, errors, costs)

    return [spec for spec in specs if spec not in errors and not out(spec)]


def _untold(specs: Sequence[Spec], traffic: Traffic) -> dict[str, Estimate]:
    """Estimates that stand for "not known": the greatest damage, marked unreliable."""
    samples = traffic.positions - traffic.held
    return {spec_key(spec): Estimate(1.0, samples, traffic.held, reliable=False) for spec in specs}
