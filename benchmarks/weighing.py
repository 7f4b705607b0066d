"""Swaps chosen by the errors that they leave at layers, beside those that they leave in the network's outputs.

python -m benchmarks.weighing                                   # the demonstration's network, on its digits
python -m benchmarks.accuracy.train vgg --seed 0                # once; and resnet18
python -m benchmarks.weighing --net vgg --images 2048
python -m benchmarks.weighing --net vgg --images 2048 --alone   # each swap of a plan by itself: told, and found
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.inputs import as_inputs
from convsurgeon.demo.data import digits
from convsurgeon.demo.net import trained
from convsurgeon.families.family import Spec
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import Damage
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem, pose
from convsurgeon.survey.sites import Site, Survey
from convsurgeon.transfer import DamageTable, measure_damage
from convsurgeon.transfer.agreement import Agreement, agreement
from convsurgeon.transfer.gains import Gains, measure_gains

DIGITS = "digits"
BATCH = 64
PERCENT = (60, 40, 25, 15)


@dataclass(frozen=True)
class Case:
    """A trained network, images to calibrate on and images to judge on: [N, C, H, W]."""

    model: nn.Module
    images: Tensor
    judged_on: Tensor

    @classmethod
    def of(cls, net: str, seed: int, images: int, cache: Path, data: Path) -> Case:
        """The images are drawn in a seeded order: those of one writer lie together in the digits."""
        if net == DIGITS:
            model, (train, test) = trained(), digits()
        else:
            model, train, test = load_trained(net, seed, cache).eval(), load_train(data), load_test(data)
        drawn = torch.randperm(len(train.images), generator=torch.Generator().manual_seed(seed))[:images]
        return cls(model, train.images[drawn], test.images)

    @property
    def calibration(self) -> list[Tensor]:
        """In batches."""
        return list(self.images.split(BATCH))

    def judged(self, plan: Plan) -> Agreement:
        """What a plan's network keeps, in a conversion of its own."""
        done = convsurgeon.apply(self.model, plan, self.images[:1], calibration=self.calibration, progress=False)
        return agreement(self.model, done.model, map(as_inputs, self.judged_on.split(500)), held_back=True)


@dataclass(frozen=True)
class Measured:
    """What candidates do to their layers, and layers to the outputs."""

    survey: Survey
    table: DamageTable
    gains: Gains

    @classmethod
    def of(cls, case: Case) -> Measured:
        """Of all candidates of ``auto``."""
        found = convsurgeon.inspect(case.model, case.images[:1])
        choices = pose(found, convsurgeon.Recipe(target="macs=50%")).choices
        requests = {c.site.name: [option.spec for option in c.options] for c in choices if c.options}
        keys = {"fingerprint": found.fingerprint()}
        table = measure_damage(case.model, requests, case.calibration, norms=found.norms(), **keys)
        return cls(found, table, measure_gains(case.model, list(requests), case.calibration, **keys))

    def problem(self, percent: int, told: Callable[[str, float], float]) -> Problem:
        """``auto`` with so many of the MACs; ``told`` says what a layer's error counts."""
        posed = pose(self.survey, convsurgeon.Recipe(target=f"macs={percent}%"))

        def of(site: Site, spec: Spec) -> float | None:
            error = self.table.trusted(site.name, spec)
            return None if error is None else told(site.name, error)

        return posed.rated(Damage("as told", of))


def plans(case: Case, percent: tuple[int, ...]) -> Iterator[str]:
    """Two rows for each percent of the MACs; errors and classes that change in percent."""
    measured = Measured.of(case)
    for share in percent:
        for title, told in (
            ("at the layers", lambda _name, error: error),
            ("in the outputs", measured.gains.at_outputs),
        ):
            plan = make_plan(measured.problem(share, told))
            close = case.judged(plan)
            error, same = 100 * (close.output_error or 0.0), 100 * (close.top1 or 0.0)
            yield f"| {share}% | {title} | {100 * plan.damage:.3g} | {error:.3g} | {100 - same:.2f} |"


def swaps(case: Case, percent: int) -> Iterator[str]:
    """One row for each swap of the plan weighed at the outputs, carried out alone; errors in percent."""
    measured = Measured.of(case)
    plan = make_plan(measured.problem(percent, measured.gains.at_outputs))
    for row in plan.replaced:
        alone = replace(measured.problem(100, measured.gains.at_outputs), targets=())
        only = Damage(row.name, lambda site, spec, row=row: 0.0 if (site.name, spec) == (row.name, row.spec) else None)
        found = case.judged(make_plan(alone.rated(only))).output_error or 0.0
        errors = (measured.table.trusted(row.name, row.spec), row.damage, found)
        yield f"| {row.name} | {row.spec.describe()} | {' | '.join(f'{100 * (one or 0.0):.3g}' for one in errors)} |"


@click.command(help=__doc__)
@click.option("--net", type=click.Choice((DIGITS, *sorted(NETS))), default=DIGITS, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--images", type=int, default=512, show_default=True, help="To calibrate on.")
@click.option("--percent", type=int, multiple=True, default=PERCENT, show_default=True, help="Of the MACs.")
@click.option("--alone", is_flag=True, help="Each swap of the plans by itself.")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, images: int, percent: tuple[int, ...], alone: bool, cache: Path, data: Path) -> None:
    """Plan, carry out and measure; prints each row as it comes."""
    case = Case.of(net, seed, images, cache, data)
    if alone:
        click.echo(
            "| layer | swap | error at the layer, % | told of the outputs, % | found, % |\n|---|---|---|---|---|"
        )
        for row in (row for share in percent for row in swaps(case, share)):
            click.echo(row)
        return
    click.echo("| MACs | errors counted | predicted, % | output error, % | another class, % |\n|---|---|---|---|---|")
    for row in plans(case, percent):
        click.echo(row)


if __name__ == "__main__":
    main()
