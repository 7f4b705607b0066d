"""What every site could become: sites × methods → priced candidates, or the reason for none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from convsurgeon.families import family_of
from convsurgeon.families.cost import Cost
from convsurgeon.families.family import Method, Refusal, Spec
from convsurgeon.planning.rules import Rules, check_rules, method_for, why_kept
from convsurgeon.survey.sites import Site

__all__ = ["PROXY", "Candidate", "Choices", "Damage", "candidates", "options_of", "rated"]


@dataclass(frozen=True)
class Damage:
    """How much a replacement hurts: ``of(site, spec)`` is 0 for no change and grows; ``name`` says how it is measured.

    ``of`` returns None where the damage could not be estimated, so that the candidate is not to be trusted.
    ``at_outputs`` tells errors of the network's outputs from others, with which they can't be summed.
    """

    name: str
    of: Callable[[Site, Spec], float | None]
    at_outputs: bool = False


def _capacity_damage(site: Site, spec: Spec) -> float:
    """family weight × (1/r − 1), r = the share of the layer's MACs that is kept: convex, so no layer is drained."""
    if site.cost.macs == 0:
        return 0.0
    kept = spec.cost(site.shape, site.positions).macs / site.cost.macs
    return family_of(spec).proxy_weight * (1 / kept - 1)


PROXY = Damage("data-free proxy: family weight × (1 / share of the layer's MACs kept − 1)", _capacity_damage)


@dataclass(frozen=True)
class Candidate:
    """One replacement: its spec, its cost over all calls, its damage."""

    spec: Spec
    cost: Cost
    damage: float


@dataclass(frozen=True)
class Choices:
    """What a site may become besides staying as it is; ``reason`` explains an empty ``options``.

    ``refused`` tells a refusal (no method can) from a rule that keeps the site.
    """

    site: Site
    options: tuple[Candidate, ...]
    reason: str | None = None
    refused: bool = False


def candidates(sites: Iterable[Site], method: Method, rules: Rules) -> tuple[Choices, ...]:
    """Choices for every site, in the given order, rated by ``PROXY``.

    Raises:
        UnknownName: a rule that matches nothing.
    """
    known = tuple(sites)
    check_rules(rules, known)
    return tuple(options_of(site, method, rules) for site in known)


def options_of(site: Site, method: Method, rules: Rules) -> Choices:
    """What one site may become."""
    if site.obstacle is not None:
        return Choices(site, (), site.obstacle, refused=True)
    if (rule := why_kept(site, rules)) is not None:
        return Choices(site, (), rule)
    method = method_for(site, rules) or method
    specs = method.specs(site.shape, site.output_size, site.input_size if site.one_size else None)
    if isinstance(specs, Refusal):
        return Choices(site, (), specs.reason, refused=True)
    saving = [spec for spec in specs if _saves(site, spec)]
    if not saving:
        cheapest = min(spec.cost(site.shape, site.positions).macs for spec in specs)
        return Choices(site, (), f"would not save MACs ({site.cost.macs:,} → {cheapest:,})", refused=True)
    return Choices(
        site,
        tuple(Candidate(spec, spec.cost(site.shape, site.positions), _capacity_damage(site, spec)) for spec in saving),
    )


def rated(choices: Iterable[Choices], damage: Damage) -> tuple[Choices, ...]:
    """The same choices with another damage; candidates without an estimate are left out."""
    return tuple(_rated(choice, damage) for choice in choices)


def _rated(choice: Choices, damage: Damage) -> Choices:
    options = tuple(
        replace(option, damage=hurt)
        for option in choice.options
        if (hurt := damage.of(choice.site, option.spec)) is not None
    )
    if choice.options and not options:
        return Choices(choice.site, (), "its damage can't be estimated from the data given", refused=True)
    return replace(choice, options=options)


def _saves(site: Site, spec: Spec) -> bool:
    """Whether a unit has fewer MACs, or learns: then it starts out equal to the convolution and saves once trained."""
    return spec.learns or spec.cost(site.shape, site.positions).macs < site.cost.macs
