"""Other signals of damage, and a search by gradients, beside measured damage at equal MACs; prints two tables.

    python -m benchmarks.accuracy.train vgg --seed 0     # once
    python -m benchmarks.signals --net vgg

All plans but the first are of a short menu: for every convolution six candidates of each linear family. They are fitted
alike, on 2,048 training images, and judged on the test images. The first table compares each signal's order of all
candidates with that of measured damage; the second says what the plans leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click
from scipy.stats import spearmanr
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, Split, load_test, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.run import UNIFORM, Sample
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained, top1
from benchmarks.signals.menu import dense_kernels, on_menu, plan_of, short_menu
from benchmarks.signals.ranks import rank_shares, rank_slopes
from benchmarks.signals.relaxed import Search, relaxed
from convsurgeon.base.inputs import as_inputs
from convsurgeon.base.progress import silent
from convsurgeon.conversion.damage import posed
from convsurgeon.conversion.data import Data
from convsurgeon.conversion.patient import Patient
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import PROXY, Damage
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.problem import Problem
from convsurgeon.planning.targets import parse_targets
from convsurgeon.transfer.agreement import agreement

SEED = 0
SHARES = (0.5, 0.25)


def measured(model: nn.Module, sample: Sample) -> Problem:
    """``auto`` with measured damage."""
    patient = Patient.admit(model, as_inputs(sample.example), WeightsOrigin("caller", "trained by the benchmark"))
    recipe = convsurgeon.Recipe(target=f"macs={min(SHARES):.0%}", seed=SEED)
    # Two problems at once: candidates that one target alone could not use are measured, too.
    return posed(patient, [recipe, recipe], Data(sample.batches()), silent)[0]


def others(model: nn.Module, net: str, train: Split) -> dict[str, Damage]:
    """Damages that see no image: constant, by MACs alone, and by MACs and what the weights tell of a layer."""
    return {
        "the same share everywhere": UNIFORM,
        "MACs alone": PROXY,
        "MACs × CONet's rank": _weighed(rank_shares(model)),
        "MACs × CONet's rank slope": _weighed(rank_slopes(net, train, SEED)),
    }


def _weighed(layers: Mapping[str, float]) -> Damage:
    return Damage("weighed", lambda site, spec: layers[site.name] * (PROXY.of(site, spec) or 0.0))


def orders(problem: Problem, damages: Mapping[str, Damage]) -> Iterator[str]:
    """A row for each signal: Spearman's correlation with measured damage over all candidates."""
    pairs = [(choice.site, option) for choice in problem.choices for option in choice.options]
    wanted = [option.damage for _, option in pairs]
    for name, damage in damages.items():
        found = spearmanr(wanted, [damage.of(site, option.spec) or 0.0 for site, option in pairs])
        yield f"| {name} | {found.statistic:.2f} |"


def plans(
    model: nn.Module, problem: Problem, damages: Mapping[str, Damage], sample: Sample, share: float
) -> Iterator[tuple[str, Plan]]:
    """Each signal's plan for the share of the MACs."""
    problem = replace(problem, targets=parse_targets(f"macs={share:.0%}"))
    yield "measured, whole menu", make_plan(problem)
    short = on_menu(problem, short_menu(problem))
    yield "measured", make_plan(short)
    found = relaxed(model, short, dense_kernels(model, short, sample), sample, share, Search())
    yield "relaxed, by gradients", plan_of(short, found)
    for name, damage in damages.items():
        yield name, make_plan(short.rated(damage))


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted(NETS)), default="vgg", show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, cache: Path, data: Path) -> None:
    """Measure, plan, carry out and judge; prints each row as it comes."""
    model, train, test = load_trained(net, SEED, cache), load_train(data), load_test(data)
    sample = Sample.of(train, SEED)
    problem, damages = measured(model, sample), others(model, net, train)
    click.echo("| signal | rank correlation with measured damage |\n|---|---|")
    for line in orders(problem, damages):
        click.echo(line)
    click.echo(
        "\n| MACs | plan by | MACs kept, % | points lost | same class, % | output error, % |\n|---|---|---|---|---|---|"
    )
    before = top1(model, test)
    for share in SHARES:
        for name, plan in plans(model, problem, damages, sample, share):
            network = convsurgeon.apply(model, plan, sample.example, calibration=sample.batches(), seed=SEED).model
            close = agreement(model, network, map(as_inputs, test.images.split(500)), held_back=True)
            figures = before - top1(network, test), 100 * (close.top1 or 0), 100 * (close.output_error or 0)
            kept = 100 * plan.after.macs / plan.before.macs
            click.echo(f"| {share:.0%} | {name} | {kept:.1f} | " + " | ".join(f"{one:.2f}" for one in figures) + " |")


if __name__ == "__main__":
    main()
