"""Recover a converted torchvision classifier on ImageNet with the data pipeline of torchvision's own references.

    convsurgeon convert resnet50 --method compconv128 --calibrate imagenet/train -o resnet50-compconv128
    accelerate launch --multi_gpu --num_processes 8 recipes/recover_imagenet.py resnet50-compconv128 imagenet

``imagenet`` holds ``train`` and ``val`` with one folder per class, as torchvision.datasets.ImageFolder reads them.
This recipe was not run; docs/imagenet.md says what was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import convsurgeon
from convsurgeon.models.loading import load_model
from convsurgeon.recovery.moment import Moment
from convsurgeon.report.folder import read_manifest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def train_images(folder: Path, size: int) -> ImageFolder:
    """Random resized crops, mirrored half of the time."""
    pipeline = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return ImageFolder(folder, pipeline)


def loader(images: ImageFolder, batch: int, workers: int, *, training: bool) -> DataLoader[Any]:
    """This process's share; ``batch`` counts its own images."""
    processes, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    sampler = DistributedSampler(images, processes, rank, shuffle=training, drop_last=training)
    return DataLoader(images, batch, sampler=sampler, num_workers=workers, drop_last=training)


def show(at: Moment) -> None:
    """One line every hundred steps."""
    if at.step % 100 == 0:
        sys.stderr.write(
            f"step {at.step}/{at.total_steps} loss {at.loss:.4f} {at.score.describe()} "
            f"{at.images_per_second:.0f} images/s, {at.seconds_left / 3600:.1f} h left\n"
        )


def parsed() -> argparse.Namespace:
    """The command line, with the settings' own defaults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("converted", type=Path, help="folder written by convsurgeon convert")
    parser.add_argument("imagenet", type=Path, help="folder with train and val")
    parser.add_argument("--output", type=Path, help="default: CONVERTED-recovered")
    parser.add_argument("--weights", default="auto", help="the original's weights, as for convsurgeon convert")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--steps", type=int, help="instead of epochs")
    parser.add_argument("--batch", type=int, default=128, help="images a step on each process")
    parser.add_argument("--workers", type=int, default=8, help="processes that read images, for each process")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--label-weight", type=float, default=0.0)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Train, and save on the main process."""
    options = parsed()
    output = options.output or options.converted.with_name(f"{options.converted.name}-recovered")
    original = load_model(read_manifest(options.converted).rebuild or "", weights=options.weights)
    if original.transform is None:
        raise SystemExit("the original's weights bring no preprocessing; pass --weights DEFAULT or a weights name.")
    done = convsurgeon.recover(
        original.model,
        options.converted,
        loader(train_images(options.imagenet / "train", options.size), options.batch, options.workers, training=True),
        evaluation=loader(
            ImageFolder(options.imagenet / "val", original.transform), options.batch, options.workers, training=False
        ),
        settings=convsurgeon.RecoverSettings(
            epochs=options.epochs, steps=options.steps, label_weight=options.label_weight
        ),
        checkpoints=output.with_name(f"{output.name}.training"),
        resume=options.resume,
        progress=show,
    )
    if os.environ.get("RANK", "0") == "0":
        done.save(output)
        sys.stdout.write(f"{done.history.describe()}\nsaved to {output}\n")


if __name__ == "__main__":
    main()
