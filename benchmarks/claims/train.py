"""Training from scratch, the same for every net: some images at half their size, few epochs, no augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.accuracy.data import Split, load_test, load_train
from benchmarks.accuracy.train import top1
from benchmarks.accuracy.training import batches
from benchmarks.claims.cells import Variant
from benchmarks.claims.gates import hardened
from benchmarks.claims.nets import cost
from benchmarks.claims.rows import Row

__all__ = ["Images", "run"]

IMAGES, EPOCHS, BATCH = 6_144, 3, 128
STEPS = EPOCHS * IMAGES // BATCH


@dataclass(frozen=True)
class Images:
    """What nets are trained and tested on, [N, 1, 14, 14]."""

    train: Split
    test: Split

    @classmethod
    def of(cls, folder: Path) -> Images:
        """The first ``IMAGES`` training images, and all test images."""
        return cls(_halved(load_train(folder), IMAGES), _halved(load_test(folder)))


def run(claim: str, variant: Variant, seed: int, images: Images) -> Row:
    """Train and test one net: SGD with momentum, a rate that rises for a fifth of the steps and falls."""
    torch.manual_seed(seed)
    net, generator = variant.build().train(), torch.Generator().manual_seed(seed)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    gates = variant.learn(net) if variant.learn else None
    optimizer = torch.optim.SGD(_parameters(net), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate)
    for step, (inputs, labels) in enumerate(
        batch for _ in range(EPOCHS) for batch in batches(images.train, BATCH, generator)
    ):
        if gates is not None:
            gates.before_step(step, STEPS)
        net.zero_grad()
        loss = F.cross_entropy(net(inputs), labels)
        (loss if gates is None else gates.weighed(loss)).backward()
        optimizer.step()
        schedule.step()
    net = hardened(net.eval())
    spent = cost(net)
    return Row(
        claim=claim,
        variant=variant.name,
        seed=seed,
        macs=spent.macs,
        params=spent.params,
        top1=top1(net, images.test),
        groups=() if gates is None else (*gates.history, gates.groups()),
    )


def _parameters(net: nn.Module) -> list[dict[str, object]]:
    """Weights, and gates, which do not decay."""
    named = list(net.named_parameters())
    gates = [parameter for name, parameter in named if name.endswith("latent_gates")]
    weights = [parameter for name, parameter in named if not name.endswith("latent_gates")]
    return [{"params": weights}, {"params": gates, "weight_decay": 0.0}]


def _rate(step: int) -> float:
    done = (step + 1) / STEPS
    return 5 * done if done < 0.2 else 0.5 * (1 + math.cos(math.pi * (done - 0.2) / 0.8))


def _halved(split: Split, count: int | None = None) -> Split:
    return Split(F.avg_pool2d(split.images[:count], 2), split.labels[:count])
