"""How far two networks agree, and on how many images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer.agreement import agreement


def _found(images: list[Tensor]) -> list[dict[str, Tensor]]:
    return [{"boxes": torch.rand(5, 4), "scores": image.mean().expand(5)} for image in images]


def test_images_are_counted_not_what_is_found_on_them() -> None:
    """A detector's first output has a row for every box; a batch's has one for every image, and classes have shares."""
    images = [torch.rand(3, 4 + i, 5) for i in range(3)]
    batches: list[Any] = [[images[0]], images[1:]]
    detected = agreement(_found, _found, map(as_inputs, batches), held_back=True)
    assert (detected.images, detected.top1) == (3, None)
    batch = torch.eye(4)
    turned = nn.Linear(4, 4, bias=False)
    turned.weight.data = torch.eye(4)[[0, 1, 3, 2]]
    classified = agreement(nn.Identity(), turned, map(as_inputs, [batch, batch[:2]]), held_back=True)
    assert (classified.images, classified.top1) == (6, 4 / 6)
