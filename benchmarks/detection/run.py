"""mAP of a detector before and after conversion to half of its MACs, and after recovery without and with boxes.

    python -m benchmarks.detection.run                                # a small detector, trained on generated scenes
    python -m benchmarks.detection.run --coco DIR --net fasterrcnn_mobilenet_v3_large_320_fpn --batch 16 --steps 5000

``DIR`` is COCO in its standard layout (train2017, val2017, annotations), which the generated scenes have, too. Needs
pycocotools; COCO also needs torchvision's weights. COCO was not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from torch import Tensor, nn
from torchvision.models import get_model

import convsurgeon
from benchmarks.detection.coco import Batches, Split, average_precision
from benchmarks.detection.train import DEFAULT_CACHE, load_trained, scenes_in

CALIBRATED = 256
SEED = 0


@dataclass(frozen=True)
class Case:
    """A detector, what it is fitted and trained on, and what it is judged on."""

    detector: nn.Module
    train: Split
    test: Split

    def calibration(self) -> Iterator[list[Tensor]]:
        """The first images of the training split, in lists of eight."""
        for start in range(0, min(CALIBRATED, len(self.train)), 8):
            yield [self.train.read(at)[0] for at in range(start, min(start + 8, len(self.train)))]


def recovered(case: Case, half: convsurgeon.Conversion, steps: int, batch: int, label_weight: float) -> nn.Module:
    """Trained for so many steps; batches are small, so norms keep their statistics."""
    settings = convsurgeon.RecoverSettings(steps=steps, norms="frozen", seed=SEED, label_weight=label_weight)
    done = convsurgeon.recover(case.detector, half, Batches(case.train, batch, SEED), settings=settings)
    return done.model.eval()


@click.command()
@click.option("--coco", type=click.Path(path_type=Path), help="COCO, in place of the generated scenes.")
@click.option("--net", default="fasterrcnn_mobilenet_v3_large_320_fpn", show_default=True, help="Beside --coco.")
@click.option("--target", default="macs=50%", show_default=True)
@click.option("--moves", default="swap", show_default=True)
@click.option("--steps", default=200, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1))
@click.option("--label-weight", default=0.5, show_default=True, help="Of the detector's own losses, in the last row.")
@click.option("--judged", type=click.IntRange(1), help="Images of val2017 to judge on.  [default: all]")
@click.option("--cache", type=click.Path(path_type=Path), default=DEFAULT_CACHE, show_default=True)
def main(
    coco: Path | None,
    net: str,
    target: str,
    moves: str,
    steps: int,
    batch: int,
    label_weight: float,
    judged: int | None,
    cache: Path,
) -> None:
    """Convert, recover, judge, and print a row as each is known."""
    detector = load_trained(cache) if coco is None else get_model(net, weights="DEFAULT").eval()
    root, out = coco or scenes_in(cache), Console(width=120)
    case = Case(detector, Split.of(root, "train2017"), Split.of(root, "val2017", judged))
    out.print(f"| {len(case.test)} images, seed {SEED} | MACs | mAP, % |\n|---|---|---|")
    original = average_precision(detector, case.test)
    half = convsurgeon.convert(
        detector,
        ([case.train.read(0)[0]],),
        moves=moves,
        target=target,
        calibration=list(case.calibration()),
        random_weights=False,
        seed=SEED,
    )
    before, after = half.plan.before.macs, half.plan.after.macs
    out.print(f"| original | {before / 1e6:.1f} M | {original:.1f} |")
    share = f"{after / before:.1%}"
    out.print(f"| converted, {half.plan.method} | {share} | {average_precision(half.model.eval(), case.test):.1f} |")
    for weight in (0.0, label_weight):
        words = f"with its own losses at weight {weight:g}" if weight else "without labels"
        found = average_precision(recovered(case, half, steps, batch, weight), case.test)
        out.print(f"| recovered, {steps} steps of {batch} images, {words} | {share} | {found:.1f} |")


if __name__ == "__main__":
    main()
