"""Does damage add up? Of whole plans, what was predicted (damages, summed) beside what was measured on test images.

python -m benchmarks.accuracy.train vgg --seed 0      # once
python -m benchmarks.additivity --net vgg --seed 0
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from torch import Tensor, nn

from benchmarks.accuracy.data import DEFAULT_DIR, load_test, load_train
from benchmarks.accuracy.run import MOVES, Sample, operate, plan_with_moves
from benchmarks.accuracy.tables import CELLS
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer.agreement import agreement

METHOD = "auto-moves"
SHARES = (0.75, 0.50, 0.35, 0.25)


def rows(model: nn.Module, sample: Sample, images: Tensor, seed: int) -> Iterator[str]:
    """One Markdown row for each share of the MACs; errors in percent."""
    for share in SHARES:
        plan = plan_with_moves(MOVES[METHOD], model, share, sample, seed)
        network = operate(METHOD, model, plan, sample, seed)
        close = agreement(model, network, map(as_inputs, images.split(500)), held_back=True)
        measured = close.output_error or 0.0
        counts = f"{len(plan.replaced)} | {len(plan.narrowed)}"
        yield f"| {share:.0%} | {counts} | {100 * plan.damage:.3f} | {100 * measured:.3f} |"


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted({net for net, _ in CELLS})), default="vgg", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, cache: Path, data: Path) -> None:
    """Plan, carry out and measure; prints each row as it comes."""
    model, sample = load_trained(net, seed, cache), Sample.of(load_train(data), seed)
    click.echo("| MACs | swaps | streams narrowed | predicted output error, % | measured, % |\n|---|---|---|---|---|")
    for row in rows(model, sample, load_test(data).images, seed):
        click.echo(row)


if __name__ == "__main__":
    main()
