"""Times of every candidate at every site: each distinct case is timed once, and only if the file lacks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from convsurgeon.base.progress import Progress
from convsurgeon.conversion.in_time.latency_file import LatencyFile, entry_key
from convsurgeon.conversion.in_time.layer_calls import LayerCase
from convsurgeon.conversion.in_time.timekeeper import Timekeeper
from convsurgeon.families.family import Spec
from convsurgeon.planning.options import Choices
from convsurgeon.runtimes.timer import Spread
from convsurgeon.survey.sites import Site

__all__ = ["LayerTimes", "time_layers", "wanted_specs"]

# Every case that has options, the site that shows it, and the specs to time there.
Wanted = dict[LayerCase, tuple[Site, list[Spec]]]


@dataclass(frozen=True)
class LayerTimes:
    """Measured times of layers over all their calls.

    ``scale`` brings times of single layers, taken over minutes, to the moment at which the network was timed.
    """

    cases: Mapping[str, Counter[LayerCase]]
    times: Mapping[str, Mapping[str, Spread]]
    scale: float = 1.0

    def of(self, site: Site, spec: Spec | None) -> int | None:
        """Nanoseconds in one forward; None where a case was not timed."""
        return self.of_cases(self.cases.get(site.name, Counter()), spec)

    def of_cases(self, calls: Counter[LayerCase], spec: Spec | None) -> int | None:
        """Nanoseconds of these calls; None where a case was not timed."""
        key, total = entry_key(spec), 0
        for case, count in calls.items():
            spread = self.times.get(case.key(), {}).get(key)
            if spread is None:
                return None
            # Other programs can only add to a time, and they hit one short layer and spare the next.
            total += count * spread.least_ns
        return max(1, round(self.scale * total)) if calls else None


def wanted_specs(choices: Iterable[Choices], cases: Mapping[str, Counter[LayerCase]]) -> Wanted:
    """What must be timed to know every option of every site."""
    wanted: Wanted = {}
    for choice in choices:
        for case in cases.get(choice.site.name, ()) if choice.options else ():
            specs = wanted.setdefault(case, (choice.site, []))[1]
            specs.extend(option.spec for option in choice.options if option.spec not in specs)
    return wanted


def time_layers(model: nn.Module, wanted: Wanted, keeper: Timekeeper, file: LatencyFile, progress: Progress) -> None:
    """Fill the file with every wanted time; each convolution in turn with its candidates."""
    for done, (case, (site, specs)) in enumerate(wanted.items()):
        progress("timing layers", done, len(wanted), site.name)
        known = file.entries.get(case.key(), {})
        missing = [spec for spec in specs if entry_key(spec) not in known]
        if not missing and entry_key(None) in known:
            continue
        conv, *others = keeper.layer(model.get_submodule(site.name), case, [None, *missing])
        before = known.get(entry_key(None), conv)
        # Timed on another day than the rest: what counts is the ratio to the convolution timed beside it.
        scale = before.least_ns / max(conv.least_ns, 1)
        found = {entry_key(spec): _scaled(spread, scale) for spec, spread in zip(missing, others, strict=True)}
        file.add(case.key(), {entry_key(None): before, **found})
    progress("timing layers", len(wanted), len(wanted), "")


def _scaled(spread: Spread, scale: float) -> Spread:
    if scale == 1:
        return spread
    return Spread(
        median_ns=round(spread.median_ns * scale),
        low_ns=round(spread.low_ns * scale),
        high_ns=round(spread.high_ns * scale),
        least_ns=max(1, round(spread.least_ns * scale)),
        samples=spread.samples,
    )
