"""Learned groups beside groups chosen at once in closed form: one pretrained net, the same MACs, the same steps.

    python -m benchmarks.learned_groups                     # every row, about 20 s each on one core
    python -m benchmarks.learned_groups --share 12% --seed 0

The net is the demonstration's, for 8×8 digits. Both routes train on the same batches; the output error is relative, on
360 test images.
"""

from __future__ import annotations

import click
import torch

import convsurgeon
from convsurgeon.demo.data import Epochs, digits
from convsurgeon.demo.net import trained
from convsurgeon.recovery import RecoverSettings
from convsurgeon.recovery.learned_groups import GroupSettings

STEPS, BATCH, CALIBRATION = 88, 64, 384
# What the closed form keeps where it may keep so much: learned groups may keep no more.
MACS = {"12%": 1_496_320, "25%": 3_118_336, "50%": 6_067_456}
ROUTES = {"closed form": None, "learned": GroupSettings(), "learned, gates led by gradients": GroupSettings(travel=1.0)}


def row(route: str, share: str, seed: int) -> str:
    """Convert, recover for ``STEPS`` steps, and judge: one line of Markdown."""
    net, (train, test), learning = trained(), digits(), ROUTES[route]
    example = train.images[:1]
    images = list(train.images[:CALIBRATION].split(128))
    target, calibration = (f"macs={share}", images) if learning is None else (None, None)
    done = convsurgeon.convert(
        net, example, method="dgconv", target=target, calibration=calibration, seed=seed, progress=False
    )
    recovered = convsurgeon.recover(
        net,
        done,
        Epochs(train.images, BATCH, seed),
        settings=RecoverSettings(steps=STEPS, seed=seed),
        learn_groups=learning or False,
        target=None if learning is None else f"macs={MACS[share]}",
        device="cpu",
        progress=False,
    )
    with torch.no_grad():
        wanted, found = net(test.images), recovered.model.eval()(test.images)
    error = (found - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()
    top1 = (found.argmax(1) == test.labels).float().mean()
    macs = convsurgeon.count(recovered.model, example).macs
    assert recovered.conversion is not None
    groups = " ".join(str(layer.spec.kind) for layer in recovered.conversion.plan.layers if layer.spec)
    return f"| {route} | {macs:,} | {groups} | {seed} | {top1:.2%} | {error:.2%} |"


@click.command(help=__doc__)
@click.option("--share", type=click.Choice(list(MACS)), multiple=True, default=list(MACS))
@click.option("--route", type=click.Choice(list(ROUTES)), multiple=True, default=list(ROUTES))
@click.option("--seed", type=int, multiple=True, default=(0, 1, 2))
def main(share: tuple[str, ...], route: tuple[str, ...], seed: tuple[int, ...]) -> None:
    """Print each row as it comes."""
    torch.set_num_threads(1)
    click.echo("| route | MACs | groups | seed | top-1 | output error |\n|---|---|---|---|---|---|")
    for one_share in share:
        for one_seed in seed:
            for one_route in route:
                click.echo(row(one_route, one_share, one_seed))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.learned_groups")
