"""Damage of swaps in narrowed layers, from what the same kinds of swaps do to the whole layer.

What a swap of a layer hurts follows from the share of the layer's MACs that it keeps, and hardly from the layer's
width. So damage is measured once, on the whole layers, and read between the measured shares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from convsurgeon.families.family import Spec
from convsurgeon.planning.options import Choices, Damage
from convsurgeon.planning.share_curve import ShareCurve
from convsurgeon.survey.sites import Site

__all__ = ["at_any_width", "macs_share"]

_Kind = tuple[str, int]


def at_any_width(damage: Damage, choices: Iterable[Choices]) -> Damage:
    """The same damage, also for sites that were narrowed; ``choices`` are those of the whole sites."""
    whole = {choice.site.name: choice for choice in choices}
    curves: dict[str, dict[_Kind, ShareCurve]] = {}

    def of(site: Site, spec: Spec) -> float | None:
        choice = whole[site.name]
        if site.shape == choice.site.shape:
            return damage.of(site, spec)
        if site.name not in curves:
            curves[site.name] = _curves(choice, damage)
        curve = curves[site.name].get((spec.family, spec.kind))
        return None if curve is None else curve.at(_share_with_all_inputs(site, choice.site, spec))

    return Damage(damage.name, of)


def _curves(choice: Choices, damage: Damage) -> dict[_Kind, ShareCurve]:
    """For each kind of unit, the damage by the share of MACs that it keeps."""
    curves: dict[_Kind, list[tuple[float, float]]] = defaultdict(list)
    for option in choice.options:
        hurt = damage.of(choice.site, option.spec)
        if hurt is not None:
            curves[option.spec.family, option.spec.kind].append((macs_share(choice.site, option.spec), hurt))
    return {kind: ShareCurve.of(points) for kind, points in curves.items()}


def _share_with_all_inputs(site: Site, whole: Site, spec: Spec) -> float:
    """The share of MACs that a unit would keep of the layer with its outputs as they are, and none of its inputs gone.

    What is written has the rank that it had, whatever is still read: a unit of so many middle channels hurts as much.
    """
    shape = site.shape.model_copy(update={"in_channels": whole.shape.in_channels})
    return spec.cost(shape, site.positions).macs / max(1, shape.cost(site.positions).macs)


def macs_share(site: Site, spec: Spec) -> float:
    """The share of the layer's MACs that a unit keeps."""
    return spec.cost(site.shape, site.positions).macs / max(1, site.cost.macs)
