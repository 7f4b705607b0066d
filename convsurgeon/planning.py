"""The plan: one row per convolution, as data that people can read, diff and edit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from convsurgeon.candidates import PROXY, Candidate, Choices, Damage, candidates
from convsurgeon.convs import AnySpec, parse_method
from convsurgeon.cost import ConvShape, Cost
from convsurgeon.errors import NothingToConvert, RecipeError, TargetError, UnknownName, UsageError
from convsurgeon.records import Record
from convsurgeon.rules import Rules
from convsurgeon.sites import Site, Survey
from convsurgeon.solver import Infeasible, Option, solve
from convsurgeon.targets import Target, human, parse_targets

__all__ = ["Action", "CostRecord", "Plan", "PlanLayer", "effective_targets", "make_plan", "read_plan"]

Action = Literal["replaced", "kept", "refused"]
DEFAULT_TARGET = "macs=50%"


class CostRecord(Record):
    """MACs and parameters, exact."""

    macs: int
    params: int

    @classmethod
    def of(cls, cost: Cost) -> CostRecord:
        """From a Cost."""
        return cls(macs=cost.macs, params=cost.params)

    def cost(self) -> Cost:
        """As a Cost."""
        return Cost(self.macs, self.params)


class PlanLayer(Record):
    """What happens to one convolution. To change it, edit ``spec``: costs are priced anew when a plan is read."""

    name: str
    aliases: tuple[str, ...] = ()
    kind: str
    shape: ConvShape
    calls: int
    positions: int
    action: Action
    reason: str
    spec: AnySpec | None = None
    damage: float | None = None
    before: CostRecord
    after: CostRecord


class Plan(Record):
    """A versioned plan; ``fingerprint`` belongs to the model it was made for."""

    version: Literal[1] = 1
    model: str
    fingerprint: str
    input_shapes: tuple[tuple[int, ...], ...]
    counted_on: Literal["meta", "device"]
    method: str
    target: tuple[str, ...]
    objective: str
    solver: str
    notes: tuple[str, ...] = ()
    before: CostRecord
    after: CostRecord
    layers: tuple[PlanLayer, ...]

    @property
    def replaced(self) -> tuple[PlanLayer, ...]:
        """The layers that change, in execution order."""
        return tuple(layer for layer in self.layers if layer.action == "replaced")

    def to_json(self) -> str:
        """The plan as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"

    def check_fits(self, survey: Survey) -> None:
        """Refuse a model, or inputs, that the plan was not made for.

        Raises:
            UnknownName: names the first layer that differs.
            UsageError: inputs of other shapes, for which the plan's costs do not hold.
        """
        if survey.fingerprint() == self.fingerprint:
            self._check_inputs(survey)
            return
        found = {site.name: site for site in survey.sites}
        for layer in self.layers:
            site = found.get(layer.name)
            if site is None:
                raise UnknownName(f"the plan was made for another model: '{layer.name}' is not in this one.")
            if site.shape != layer.shape or site.kind != layer.kind:
                raise UnknownName(
                    f"the plan was made for another model: '{layer.name}' is {site.kind} {site.shape.describe()} "
                    f"here and {layer.kind} {layer.shape.describe()} in the plan."
                )
        extra = sorted(set(found) - {layer.name for layer in self.layers})
        raise UnknownName(f"the plan was made for another model: it does not know '{extra[0]}'.")

    def _check_inputs(self, survey: Survey) -> None:
        if survey.input_shapes != self.input_shapes:
            planned, given = (
                ", ".join(str(list(shape)) for shape in shapes) for shapes in (self.input_shapes, survey.input_shapes)
            )
            raise UsageError(
                f"the plan was made for inputs {planned}, these are {given}: its costs hold for the former only. "
                "Pass inputs of those shapes (--input N,C,H,W on the command line), or make a new plan."
            )


def make_plan(
    survey: Survey,
    *,
    model: str = "model",
    method: str = "auto",
    target: str | tuple[str, ...] | list[str] | None = None,
    rules: Rules | None = None,
    damage: Damage = PROXY,
) -> Plan:
    """Choose what each convolution becomes.

    Fixed methods without a target convert every eligible layer; methods with a choice take ``macs=50%``;
    ``dgconv`` without a target keeps its gates open.

    Raises:
        UnknownName: an unknown method or a rule that matches nothing.
        TargetError: a target that can't be read or reached; the message holds the reachable range.
        NothingToConvert: no convolution is eligible; the message holds the reasons.
    """
    rules = rules or Rules()
    targets = effective_targets(method, target, rules)
    notes: list[str] = []
    if targets and not parse_targets(target):
        free = _first_with_choice(method, rules)
        notes.append(f"no target given: '{free}' has a choice, so {DEFAULT_TARGET} was taken")
    chosen_method = parse_method(method, hardened=bool(targets))
    choices = candidates(survey.sites, chosen_method, rules, damage, hardened=bool(targets))
    if not any(c.options for c in choices):
        raise NothingToConvert(_nothing(choices, method))
    picks, solver = _pick(choices, targets, survey.total)
    layers = tuple(_layer(c, pick, bool(targets)) for c, pick in zip(choices, picks, strict=True))
    after = survey.total + Cost.total(row.after.cost() - row.before.cost() for row in layers)
    if method == "dgconv" and not targets:
        notes.append(
            "dgconv without a target keeps every gate open: cost unchanged, output equal to the original; "
            "give --target to group now, or train the gates"
        )
    return Plan(
        model=model,
        fingerprint=survey.fingerprint(),
        input_shapes=survey.input_shapes,
        counted_on=survey.counted_on,
        method=method,
        target=tuple(t.text for t in targets),
        objective=damage.name,
        solver=solver,
        notes=tuple(notes),
        before=CostRecord.of(survey.total),
        after=CostRecord.of(after),
        layers=layers,
    )


def effective_targets(
    method: str, target: str | tuple[str, ...] | list[str] | None, rules: Rules
) -> tuple[Target, ...]:
    """The given targets, or the default one for methods with a choice, or none: then there is nothing to solve."""
    targets = parse_targets(target)
    if targets or _first_with_choice(method, rules) is None:
        return targets
    return parse_targets(DEFAULT_TARGET)


def _first_with_choice(method: str, rules: Rules) -> str | None:
    """The first of the named methods that leaves the planner a choice."""
    names = (method, *(rule.method for rule in rules.layers))
    return next((name for name in names if parse_method(name).has_choice), None)


def _pick(
    choices: tuple[Choices, ...], targets: tuple[Target, ...], total: Cost
) -> tuple[tuple[Candidate | None, ...], str]:
    """The candidate for each site (None: keep), and how it was found."""
    if not targets:
        return tuple(c.options[0] if c.options else None for c in choices), "every eligible layer"
    menus = [(None, *c.options) for c in choices]
    layers = [
        [_option(c.site, candidate, targets) for candidate in menu] for c, menu in zip(choices, menus, strict=True)
    ]
    fixed = [getattr(total, t.metric) - sum(getattr(c.site.cost, t.metric) for c in choices) for t in targets]
    limits = [t.limit(total) - rest for t, rest in zip(targets, fixed, strict=True)]
    answer = solve(layers, limits)
    if isinstance(answer, Infeasible):
        raise TargetError(_unreachable(answer, targets, fixed, total, choices))
    picks = tuple(menu[i] for menu, i in zip(menus, answer.picks, strict=True))
    return picks, f"scipy milp (HiGHS), relative gap {answer.gap:.1e}"


def _option(site: Site, candidate: Candidate | None, targets: tuple[Target, ...]) -> Option:
    cost = site.cost if candidate is None else candidate.cost
    return Option(tuple(getattr(cost, t.metric) for t in targets), 0.0 if candidate is None else candidate.damage)


def _unreachable(
    answer: Infeasible,
    targets: tuple[Target, ...],
    fixed: list[int],
    total: Cost,
    choices: tuple[Choices, ...],
) -> str:
    ranges = []
    for target, low, rest in zip(targets, answer.lowest, fixed, strict=True):
        whole = getattr(total, target.metric)
        ranges.append(
            f"{target.metric} from {human(low + rest)} ({(low + rest) / whole:.1%}) to {human(whole)} (100 %), "
            f"asked: {human(target.limit(total))}"
        )
    together = "" if len(targets) == 1 else " (each alone; together they may reach less)"
    free = sum(bool(c.options) for c in choices)
    return (
        f"target {', '.join(t.text for t in targets)} can't be reached by {free} eligible of {len(choices)} "
        f"convolutions. Reachable: {'; '.join(ranges)}{together}. "
        "Raise the target, choose a method with more reach (auto, igc), or free more layers (--shortcuts, --stem)."
    )


def _nothing(choices: tuple[Choices, ...], method: str) -> str:
    if not choices:
        return "nothing to convert: the model has no convolution."
    rows = "\n".join(f"  {c.site.name}: {c.reason}" for c in choices)
    return f"nothing to convert: '{method}' can replace none of the {len(choices)} convolutions:\n{rows}"


def _layer(choices: Choices, pick: Candidate | None, solved: bool) -> PlanLayer:
    site = choices.site
    before = CostRecord.of(site.cost)
    action: Action = "replaced" if pick else ("refused" if choices.refused else "kept")
    reason = pick.spec.describe() if pick else (choices.reason or "kept by the solver: the target is met without it")
    return PlanLayer(
        name=site.name,
        aliases=site.aliases,
        kind=site.kind,
        shape=site.shape,
        calls=site.calls,
        positions=site.positions,
        action=action,
        reason=reason,
        spec=pick.spec if pick else None,
        damage=pick.damage if pick and solved else None,
        before=before,
        after=CostRecord.of(pick.cost) if pick else before,
    )


def read_plan(text: str, origin: str = "plan") -> Plan:
    """Read a plan and price its rows anew, so that an edited spec needs no arithmetic.

    Raises:
        RecipeError: not a plan; lists every mistake.
    """
    try:
        plan = Plan.model_validate_json(text)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise RecipeError(f"{origin} is not a plan of version 1:\n" + "\n".join(lines)) from error
    layers = tuple(_repriced(layer, origin) for layer in plan.layers)
    after = plan.before.cost() + Cost.total(row.after.cost() - row.before.cost() for row in layers)
    return plan.model_copy(update={"layers": layers, "after": CostRecord.of(after)})


def _repriced(layer: PlanLayer, origin: str) -> PlanLayer:
    if (layer.spec is None) != (layer.action != "replaced"):
        raise RecipeError(f"{origin}: layer '{layer.name}' is '{layer.action}' but has spec {layer.spec!r}.")
    if layer.spec is None:
        return layer.model_copy(update={"after": layer.before})
    after = CostRecord.of(layer.spec.cost(layer.shape, layer.positions))
    return layer.model_copy(update={"after": after, "reason": layer.spec.describe()})


def read_plan_file(path: Path) -> Plan:
    """Read a plan from a file.

    Raises:
        UnknownName: no such file.
        RecipeError: not a plan.
    """
    if not path.is_file():
        raise UnknownName(f"no plan at '{path}'; 'convsurgeon plan MODEL' writes one.")
    return read_plan(path.read_text(encoding="utf-8"), str(path))
