"""Measurements against limits: one row per budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from convsurgeon.base.errors import ConvsurgeonError, UsageError
from convsurgeon.budgets.baseline import Comparison
from convsurgeon.budgets.entries import Budget
from convsurgeon.budgets.limits import Limit
from convsurgeon.budgets.measurement import Measured
from convsurgeon.budgets.metrics import METRICS, Metric
from convsurgeon.budgets.record import Figure, Row, Status
from convsurgeon.budgets.why import changes, largest

__all__ = ["Case", "Outcome", "failed", "judge", "switched_off"]

ALWAYS_SHOWN: tuple[Metric, ...] = ("macs", "params")
_NAMED_LAYERS = 4
_NOT_JUDGED = {"status": "not judged"}

Outcome = Measured | ConvsurgeonError


@dataclass(frozen=True)
class Case:
    """One measured budget and what to hold it against.

    ``outcomes`` holds what became of every measured entry, by name. ``relative`` False leaves out limits against
    the baseline, because the lock is about to be rewritten.
    """

    budget: Budget
    found: Measured
    base: Comparison
    outcomes: Mapping[str, Outcome]
    origin: str
    line: int | None = None
    relative: bool = True

    def where(self, key: str) -> str:
        """File, entry and key, for messages."""
        return f"{self.origin}, entry '{self.budget.name}', {key}"


def switched_off(budget: Budget, line: int | None) -> Row:
    """The row of an entry with level "off"."""
    return Row(**_who(budget, line), status="off")


def failed(budget: Budget, error: ConvsurgeonError, origin: str, line: int | None) -> Row:
    """The row of an entry that could not be measured."""
    key = "model" if budget.entry.recipe is None else "recipe"
    problem = f"{origin}, entry '{budget.name}', {key}: {error}"
    return Row(**_who(budget, line), status="failed", problem=problem, exit_code=error.exit_code)


def _who(budget: Budget, line: int | None) -> dict[str, Any]:
    entry = budget.entry
    return {
        "name": budget.name,
        "source": budget.source,
        "level": entry.level,
        "message": entry.message,
        "line": line,
    }


def judge(case: Case) -> Row:
    """Hold one measurement against its limits."""
    found, figures, problems, code = case.found, [], [], 0
    limits = case.budget.entry.limits()
    for metric in METRICS:
        if metric not in limits and metric not in ALWAYS_SHOWN:
            continue
        try:
            figures.append(_figure(metric, limits.get(metric), case))
        except ConvsurgeonError as error:
            problems.append(str(error))
            code = max(code, error.exit_code)
            figures.append(_bare(metric, case).model_copy(update={"limit_text": limits[metric].text, **_NOT_JUDGED}))
    status: Status = "failed" if problems else _worst(figures)
    # what is too large although nothing grew was too large before: its largest layers are the place to look
    against = changes(found, case.base.locked) if case.base.locked else ()
    grown = case.base.locked is not None and (bool(against) or status != "over")
    return Row(
        **_who(case.budget, case.line),
        status=status,
        problem="; ".join(problems) or None,
        exit_code=code or int(status == "over"),
        input_shapes=found.input_shapes,
        assumed_input=found.assumption is not None,
        counted_on=found.counted_on,
        figures=tuple(figures),
        notes=(*((found.assumption,) if found.assumption else ()), *case.base.notes, *_nature(found)),
        why=against if grown else largest(found),
        why_against=case.base.name if grown else None,
    )


def _bare(metric: Metric, case: Case) -> Figure:
    found, locked = case.found, case.base.locked
    return Figure(
        metric=metric,
        value=found.value(metric) or 0,
        baseline=locked.value(metric) if locked else None,
        varying={"macs": found.varying_macs, "flops": 2 * found.varying_macs}.get(metric, 0),
    )


def _figure(metric: Metric, limit: Limit | None, case: Case) -> Figure:
    figure, entry = _bare(metric, case), case.budget.entry
    if limit is None or (limit.kind == "baseline" and not case.relative):
        return figure
    allowed = _allowed(metric, limit, case)
    noisy = not METRICS[metric].exact or (metric == "activation_memory" and case.found.varies)
    status = "ok"
    if Fraction(figure.value) > allowed:
        status = "over" if entry.level == "error" and (entry.insist or not noisy) else "warn"
    shown = float(allowed) if metric == "latency" else math.floor(allowed)
    return figure.model_copy(update={"limit": shown, "limit_text": limit.text, "status": status})


def _allowed(metric: Metric, limit: Limit, case: Case) -> Fraction:
    """The largest allowed value.

    Raises:
        UsageError: the baseline has no such number.
        ConvsurgeonError: the entry that the limit refers to could not be measured; its own error class.
    """
    if limit.kind == "absolute":
        return limit.amount
    if limit.kind == "baseline":
        base = None if case.base.locked is None else case.base.locked.value(metric)
        if base is None:
            raise UsageError(
                f"{case.where(metric)}: '{limit.text}' has nothing to compare with: {case.base.name} has no {metric} "
                "for this entry. Run convsurgeon check --update and commit the result."
            )
        return limit.amount * base
    other = case.outcomes[limit.entry]
    if isinstance(other, ConvsurgeonError):
        raise type(other)(f"{case.where(metric)}: '{limit.text}' can't be judged, because that entry failed")
    return limit.amount * Fraction(other.value(metric) or 0)


def _worst(figures: list[Figure]) -> Status:
    order: tuple[Status, ...] = ("over", "warn", "ok")
    return next((status for status in order if any(f.status == status for f in figures)), "no limit")


def _nature(found: Measured) -> tuple[str, ...]:
    """What kind of numbers these are, where that needs saying."""
    if found.varying_macs:
        names = [layer.name for layer in found.layers if layer.varying_macs]
        more = ", …" if len(names) > _NAMED_LAYERS else ""
        return (
            f"data-dependent: on these inputs {found.varying_macs:,} more MACs in "
            f"{', '.join(names[:_NAMED_LAYERS])}{more}; limits and baseline hold the part that never changes",
        )
    if found.counted_on == "device":
        return ("counted on real numbers, because the model reads its data while it runs",)
    return ()
