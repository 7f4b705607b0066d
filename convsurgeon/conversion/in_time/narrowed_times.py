"""Times of layers at every width that they may have: convolutions timed, their units by the ratio at full width."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from convsurgeon.base.progress import Progress
from convsurgeon.conversion.in_time.latency_file import LatencyFile, entry_key
from convsurgeon.conversion.in_time.layer_calls import LayerCase
from convsurgeon.conversion.in_time.layer_times import LayerTimes
from convsurgeon.conversion.in_time.timekeeper import Timekeeper
from convsurgeon.families.family import Spec
from convsurgeon.families.torch_convs import conv_like
from convsurgeon.planning.options import Choices
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.scaled_damage import macs_share
from convsurgeon.planning.share_curve import ShareCurve
from convsurgeon.planning.widths import Ends, narrowed_site
from convsurgeon.survey.sites import Site

__all__ = ["NarrowedTimes", "changeable", "time_widths"]

Cases = Mapping[str, Counter[LayerCase]]


@dataclass
class NarrowedTimes:
    """Nanoseconds of layers in one forward, whole or narrowed; ``whole`` knows those of whole ones."""

    whole: LayerTimes
    choices: Mapping[str, Choices]
    _curves: dict[str, dict[tuple[str, int], ShareCurve]] = field(default_factory=dict)

    def of(self, site: Site, spec: Spec | None) -> int | None:
        """Nanoseconds of a site in one forward; None where a case was not timed."""
        choice = self.choices[site.name]
        if site.shape == choice.site.shape:
            return self.whole.of(site, spec)
        conv = self.whole.of_cases(narrowed_cases(site, self.whole.cases.get(site.name, Counter())), None)
        if conv is None or spec is None:
            return conv
        curve = self._ratios(choice).get((spec.family, spec.kind))
        ratio = None if curve is None else curve.at(macs_share(site, spec))
        return None if ratio is None else max(1, round(conv * ratio))

    def _ratios(self, choice: Choices) -> dict[tuple[str, int], ShareCurve]:
        """For each kind of unit, its time over the convolution's, by the share of MACs that it keeps."""
        name = choice.site.name
        if name not in self._curves:
            points: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
            conv = self.whole.of(choice.site, None)
            for option in choice.options:
                took = self.whole.of(choice.site, option.spec)
                if conv and took:
                    kind = (option.spec.family, option.spec.kind)
                    points[kind].append((macs_share(choice.site, option.spec), took / conv))
            # A unit of as many MACs is no faster than the convolution, whatever lesser ones take.
            whole = {kind: (1.0, max(1.0, *(ratio for _, ratio in some))) for kind, some in points.items()}
            self._curves[name] = {kind: ShareCurve.of([*some, whole[kind]]) for kind, some in points.items()}
        return self._curves[name]


def narrowed_cases(site: Site, cases: Counter[LayerCase]) -> Counter[LayerCase]:
    """What a site is called with once it is narrowed; ``cases`` are those of the whole one."""
    layer = json.dumps([site.kind, site.shape.model_dump(mode="json")], separators=(",", ":"))
    found: Counter[LayerCase] = Counter()
    for case, times in cases.items():
        size = (case.size[0], site.shape.in_channels, *case.size[2:])
        found[replace(case, layer=layer, size=size)] += times
    return found


def changeable(problem: Problem) -> frozenset[str]:
    """The convolutions that may lose channels, or go with a residual branch."""
    ends = Ends(problem.widths)
    goes = {name for row in problem.drops for name in row.block.modules}
    names = (choice.site.name for choice in problem.choices)
    return frozenset(name for name in names if ends.of(name) or name in goes)


def time_widths(
    model: nn.Module, problem: Problem, cases: Cases, keeper: Timekeeper, file: LatencyFile, progress: Progress
) -> None:
    """Fill the file with the times of convolutions at all widths that they may have."""
    wanted = dict(_wanted(problem, cases))
    whole = [choice.site for choice in problem.choices]
    for done, (case, site) in enumerate(wanted.items()):
        progress("timing widths", done, len(wanted), site.name)
        if entry_key(None) in file.entries.get(case.key(), {}):
            continue
        own = model.get_submodule(site.name)
        conv = own if site in whole else _conv(site, case, own)
        (took,) = keeper.layer(conv, case, [None])
        file.add(case.key(), {entry_key(None): took})
    progress("timing widths", len(wanted), len(wanted), "")


def _wanted(problem: Problem, cases: Cases) -> Iterator[tuple[LayerCase, Site]]:
    ends, may_change = Ends(problem.widths), changeable(problem)
    for choice in problem.choices:
        for labels in ends.labels(choice.site.name) if choice.site.name in may_change else ():
            site = narrowed_site(choice.site, ends.gone(choice.site.name, labels))
            yield from ((case, site) for case in narrowed_cases(site, cases.get(choice.site.name, Counter())))


def _conv(site: Site, case: LayerCase, like: nn.Module) -> nn.Module:
    """A fresh convolution of the narrowed shape; a time does not depend on its weights."""
    example = next(like.parameters())
    shape = site.shape
    conv = conv_like(shape, shape.in_channels, shape.out_channels, bias=shape.bias).to(example.device, example.dtype)
    return conv.to(memory_format=torch.channels_last) if case.weights_channels_last else conv
