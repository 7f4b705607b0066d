"""Does damage add up? Of whole plans, what was predicted (damages, summed) beside what was measured on test images.

python -m benchmarks.accuracy.train vgg --seed 0      # once
python -m benchmarks.additivity --net vgg --seed 0
python -m benchmarks.additivity --net vgg --seed 0 --width-multiple 16 --percent 25
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
PERCENT = (75, 50, 35, 25)


def rows(
    model: nn.Module, sample: Sample, images: Tensor, seed: int, width_multiple: int | None, percent: Sequence[int]
) -> Iterator[str]:
    """One Markdown row for each percent of the MACs; errors in percent."""
    for share in percent:
        plan = plan_with_moves(MOVES[METHOD], model, share / 100, sample, seed, width_multiple)
        network = operate(METHOD, model, plan, sample, seed)
        close = agreement(model, network, map(as_inputs, images.split(500)), held_back=True)
        measured = close.output_error or 0.0
        counts = f"{len(plan.replaced)} | {len(plan.narrowed)}"
        yield f"| {share}% | {counts} | {100 * plan.damage:.3f} | {100 * measured:.3f} |"


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted({net for net, _ in CELLS})), default="vgg", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
@click.option("--width-multiple", type=int, help="Of channels that narrowed streams keep.")
@click.option("--percent", type=int, multiple=True, default=PERCENT, show_default=True, help="Of the MACs.")
def main(net: str, seed: int, cache: Path, data: Path, width_multiple: int | None, percent: tuple[int, ...]) -> None:
    """Plan, carry out and measure; prints each row as it comes."""
    model, sample = load_trained(net, seed, cache), Sample.of(load_train(data), seed)
    click.echo("| MACs | swaps | streams narrowed | predicted output error, % | measured, % |\n|---|---|---|---|---|")
    for row in rows(model, sample, load_test(data).images, seed, width_multiple, percent):
        click.echo(row)


if __name__ == "__main__":
    main()
