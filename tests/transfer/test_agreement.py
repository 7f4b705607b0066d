"""How far two networks agree, and on how many images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.inputs import as_inputs
from convsurgeon.transfer.agreement import agreement, noise_note


def _found(images: list[Tensor]) -> list[dict[str, Tensor]]:
    return [{"boxes": torch.rand(5, 4), "scores": image.mean().expand(5)} for image in images]


def test_images_are_counted_not_what_is_found_on_them() -> None:
    """A detector's first output has a row for every box; a batch's has one for every image, and classes have shares."""
    images = [torch.rand(3, 4 + i, 5) for i in range(3)]
    batches: list[Any] = [[images[0]], images[1:]]
    detected = agreement(_found, _found, map(as_inputs, batches), held_back=True)
    assert (detected.images, detected.top1) == (3, None)
    found_alone = agreement(lambda x: torch.rand(5, 4), lambda x: torch.rand(5, 4), [as_inputs(images)], held_back=True)
    assert (found_alone.images, found_alone.top1) == (3, None)
    batch = torch.eye(4)
    turned = nn.Linear(4, 4, bias=False)
    turned.weight.data = torch.eye(4)[[0, 1, 3, 2]]
    classified = agreement(nn.Identity(), turned, map(as_inputs, [batch, batch[:2]]), held_back=True)
    assert (classified.images, classified.top1) == (6, 4 / 6)


def test_what_is_undefined_agrees_with_nothing() -> None:
    """A row with NaN has no class, not even the same one as itself; the other rows have."""
    outputs = torch.eye(4)
    outputs[0, 2] = torch.nan
    found = agreement(lambda x: outputs, lambda x: outputs, [as_inputs(torch.rand(4, 8))], held_back=True)
    assert found.top1 == 3 / 4


def test_a_model_that_differs_from_itself_is_said_to() -> None:
    """Dropout that stays on in eval mode is noise in every comparison; the same network without it is steady."""
    batches = [as_inputs(torch.rand(4, 8))]

    def noisy(x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)

    assert "between two runs on the same inputs" in (noise_note(noisy, batches) or "")
    assert noise_note(nn.Identity(), batches) is None
    assert noise_note(lambda x: "no tensor", batches) is None
