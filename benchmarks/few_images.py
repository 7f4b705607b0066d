"""Output error and classes that change, by the number of images that a conversion is calibrated on.

python -m benchmarks.accuracy.train vgg --seed 0      # once
python -m benchmarks.few_images --net vgg --seed 0
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from torch import nn

import convsurgeon
from benchmarks.accuracy.data import DEFAULT_DIR, Split, load_test, load_train
from benchmarks.accuracy.nets import NETS
from benchmarks.accuracy.train import DEFAULT_CACHE, load_trained
from convsurgeon.base.errors import TargetError
from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer.agreement import agreement

IMAGES = (64, 128, 256, 512, 1024, 2048)
SHARES = ("macs=50%", "macs=25%")
BATCH = 64


def rows(model: nn.Module, train: Split, test: Split) -> Iterator[str]:
    """One Markdown row for each number of images: output error and other classes in percent, for each share."""
    for count in IMAGES:
        calibration = list(train.images[:count].split(BATCH))
        cells = []
        for target in SHARES:
            try:
                done = convsurgeon.convert(
                    model, train.images[:1], moves="swap", target=target, calibration=calibration, progress=False
                )
            except TargetError:
                cells.append("out of reach | –")
                continue
            close = agreement(model, done.model, map(as_inputs, test.images.split(500)), held_back=True)
            cells.append(f"{100 * (close.output_error or 0.0):.3f} | {100 - 100 * (close.top1 or 0.0):.2f}")
        yield f"| {count:,} | {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.option("--net", type=click.Choice(sorted(NETS)), default="vgg", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True)
def main(net: str, seed: int, cache: Path, data: Path) -> None:
    """Convert and measure; prints each row as it comes."""
    model = load_trained(net, seed, cache).eval()
    heads = " | ".join(f"{target}: output error, % | another class, %" for target in SHARES)
    click.echo(f"| images | {heads} |\n|{'---|' * (1 + 2 * len(SHARES))}")
    for row in rows(model, load_train(data), load_test(data)):
        click.echo(row)


if __name__ == "__main__":
    main()
