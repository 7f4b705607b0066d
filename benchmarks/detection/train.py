"""Train the small detector on the digits, with its own losses, and keep its weights.

    python -m benchmarks.detection.train

A detector that is already in the cache folder is not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file, save
from torch import nn

from benchmarks.detection.coco import Batches, Split, average_precision
from benchmarks.detection.nets import detector
from benchmarks.detection.scenes import write_scenes
from convsurgeon.base.files import write_whole

DEFAULT_CACHE = Path("benchmarks/.cache/detection")
EPOCHS, BATCH, RATE, CLIP = 4, 16, 2e-3, 5.0


def scenes_in(cache: Path) -> Path:
    """The generated set, made where it is not there yet."""
    write_scenes(cache / "scenes")
    return cache / "scenes"


def load_trained(cache: Path, epochs: int = EPOCHS) -> nn.Module:
    """The trained detector in eval mode; trained first where it is not in the cache."""
    weights = cache / f"fasterrcnn-{epochs}.safetensors"
    if not weights.is_file():
        model = trained(Split.of(scenes_in(cache), "train2017"), epochs)
        write_whole(weights, save(model.state_dict()))
    model = detector()
    model.load_state_dict(load_file(weights))
    return model.eval()


def trained(split: Split, epochs: int) -> nn.Module:
    """AdamW under a one-cycle schedule."""
    torch.manual_seed(0)
    model, log = detector().train(), Console(stderr=True)
    batches = Batches(split, BATCH, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * len(batches), pct_start=0.1)
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        total = 0.0
        for images, targets in batches:
            loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item()
        log.print(f"epoch {epoch + 1} of {epochs}, loss {total / len(batches):.3f}")
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    options = parser.parse_args()
    split = Split.of(scenes_in(options.cache), "val2017")
    found = average_precision(load_trained(options.cache, options.epochs), split)
    Console().print(f"mAP {found:.1f} on {len(split)} images")
