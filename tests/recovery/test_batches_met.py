"""Batches that recovery meets: a last one of a single image, masks, and values that are not finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon import recover
from convsurgeon.base.errors import TrainingFailed, UsageError
from tests.recovery.lessons import converted, original, settings

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Pooled(nn.Module):
    """Pools to 1×1 ahead of its last batch norm: [N, 3, 8, 8] → [N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.pool, self.norm = nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        return self.head(self.norm(self.pool(self.body(self.stem(x)).relu())).flatten(1))


def test_a_batch_of_one_image_lets_batch_norms_rest() -> None:
    """A norm that would see one value per channel keeps its statistics for that batch, which a note says."""
    net = Pooled().eval()
    small = convsurgeon.convert(net, X[:1], method="compconv32")
    done = recover(net, small, [X, X[:1]], settings=settings(steps=4, norms="batch"))
    assert int(done.model.norm.num_batches_tracked) == 2
    assert any("gave norm a single value per channel" in words for words in done.history.extras)
    whole = recover(net, small, [X, X], settings=settings(steps=4, norms="batch"))
    assert int(whole.model.norm.num_batches_tracked) == 4
    assert whole.history.extras == ()


class Segments(nn.Module):
    """[N, 3, H, W] → [N, 5, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.Conv2d(16, 5, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """One forward pass."""
        return self.head(self.body(self.stem(x).relu()).relu())


@pytest.mark.parametrize(
    ("masks", "weight", "message"),
    [
        (torch.full((4, 8, 8), 3), 0.0, None),
        (torch.full((4, 8, 8), 3), 1.0, None),
        (torch.full((4, 8, 8), -1), 1.0, None),
        (torch.full((4, 8, 8), 255), 0.0, None),
        (torch.full((4, 8, 8), 255), 1.0, r"has label 255; the network has 5 outputs.*borders, often 255"),
        (torch.full((4,), 3), 1.0, r"labels \[4\] need a network with one output \[4, K\]; this one returns \[4, 5, 8"),
    ],
)
def test_masks_are_labels_of_pixels(masks: Tensor, weight: float, message: str | None) -> None:
    """Pairs (images, masks) train by distillation, and by the masks where they are asked for and fit the outputs."""
    net = Segments().eval()
    small = convsurgeon.convert(net, X[:1], method="compconv32")

    def run() -> Any:
        held = [(X, masks)] if masks.dim() == 3 else None
        return recover(net, small, [(X, masks)], evaluation=held, settings=settings(steps=2, label_weight=weight))

    if message is None:
        assert run().history.after.output_error is not None
        return
    with pytest.raises(UsageError, match=message):
        run()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_are_named(bad: float) -> None:
    """A batch to train on and one to judge on are named by number; a loss that diverges by itself blames no inputs."""
    net = original()
    half = converted(net)
    poisoned = X.clone()
    poisoned[1, 0, 0, 0] = bad
    with pytest.raises(TrainingFailed, match=r"at step 2 of 10\. The inputs of this batch \(number 2 of its epoch\)"):
        recover(net, half, [X, poisoned], settings=settings())
    with pytest.raises(UsageError, match=r"evaluation batch 2 \(\[4, 3, 8, 8\]\) holds NaN or infinity"):
        recover(net, half, [X], evaluation=[X, poisoned], settings=settings())
    with pytest.raises(TrainingFailed, match="Lower the learning rates"):
        recover(net, half, [X], settings=settings(lr_new=1e18, lr_old=1e18, clip=None, optimizer="sgd", warmup=0.0))
