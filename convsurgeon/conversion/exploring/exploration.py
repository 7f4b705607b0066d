"""An exploration's results: the comparison, and a conversion of any of its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from convsurgeon.base.console import as_text
from convsurgeon.base.errors import UnknownName, did_you_mean
from convsurgeon.base.progress import Progress, silent
from convsurgeon.conversion.converted import Conversion
from convsurgeon.conversion.exploring.finished import Finished
from convsurgeon.conversion.exploring.order import Order
from convsurgeon.conversion.steps import concluded, fitted
from convsurgeon.planning.grid import point_name
from convsurgeon.planning.plan import Plan
from convsurgeon.report.comparison import Comparison, timing_doubts
from convsurgeon.report.comparison_terminal import render
from convsurgeon.report.page.comparison import summary_html, to_html
from convsurgeon.report.point import Point, Refused

__all__ = ["Exploration"]


@dataclass(frozen=True)
class Exploration:
    """``comparison`` holds the figures; ``print`` shows the terminal's table."""

    comparison: Comparison
    order: Order = field(repr=False)
    finished: Mapping[str, Finished] = field(repr=False)

    @classmethod
    def of(cls, order: Order, finished: Mapping[tuple[str, str], Finished], odd: tuple[str, ...] = ()) -> Exploration:
        """An exploration from what was found for each method and target, on inputs of which ``odd`` is to be said."""
        named = {
            point_name(method, target): finished[method.name, target.text]
            for method in order.grid.methods
            for target in order.grid.targets
        }
        points = [_point(name, one.plan, one, order) for name, one in named.items() if one.plan is not None]
        refused = [Refused(name=name, reason=one.refused) for name, one in named.items() if one.refused is not None]
        doubts = dict.fromkeys(doubt for one in named.values() for doubt in one.doubts)
        notes = (*odd, *doubts, *timing_doubts(points))
        return cls(Comparison.of(points, refused=refused, notes=notes), order, named)

    def __str__(self) -> str:
        return as_text(render(self.comparison))

    def _repr_html_(self) -> str:
        return summary_html(self.comparison)

    def to_json(self) -> str:
        """The comparison as indented JSON."""
        return self.comparison.to_json()

    def to_html(self) -> str:
        """The comparison as a page: one self-contained file."""
        return to_html(self.comparison)

    def convert(self, name: str, *, progress: Progress | None = None) -> Conversion:
        """One of the networks, fitted again on the same inputs.

        Raises:
            UnknownName: no network of that name, or one that can't be had.
        """
        one = self.finished.get(name)
        if one is None or one.plan is None:
            had = [known for known, other in self.finished.items() if other.plan is not None]
            why = f"it can't be had: {one.refused}" if one else f"there are {', '.join(had)}.{did_you_mean(name, had)}"
            raise UnknownName(f"no network '{name}': {why}")
        order, tell = self.order, progress or silent
        # It was judged before, on the same inputs.
        data = replace(order.data, judging=None)
        done = fitted(order.patient, one.plan, data, seed=order.recipe.seed, refine=order.refine, progress=tell)
        made = concluded(order.patient, one.plan, done, order.data, one.fidelity, list(one.doubts))
        return replace(made, report=made.report.model_copy(update={"timing": one.timing}))

    def save(self, name: str, directory: Path | str, *, force: bool = False) -> Path:
        """Convert one of the networks and write the folder that ``convsurgeon.load`` reads.

        Raises:
            UnknownName: no network of that name, or one that can't be had.
            OutputExists: the folder is there and ``force`` is not given.
        """
        return self.convert(name).save(directory, force=force)


def _point(name: str, plan: Plan, one: Finished, order: Order) -> Point:
    return Point(
        name=name,
        model=order.patient.name,
        method=plan.method,
        target=plan.target,
        before=plan.before,
        after=plan.after,
        timing=one.timing,
        fidelity=one.fidelity,
    )
