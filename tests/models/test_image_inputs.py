"""What a folder of images can stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from convsurgeon.base.errors import UsageError
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.models.image_inputs import image_shape, require_floats

IMAGE = torch.zeros(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("example", "shape"),
    [(IMAGE, (1, 3, 8, 8)), ((IMAGE,), (1, 3, 8, 8)), ([IMAGE[0]], (3, 8, 8)), (([IMAGE[0], IMAGE[0]],), (3, 8, 8))],
)
def test_one_tensor_or_a_list_of_images_has_a_shape(example: Any, shape: tuple[int, ...]) -> None:
    """A batch has four axes, an image in a detector's list three."""
    assert image_shape(as_inputs(example)) == shape


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ((IMAGE, IMAGE), r"Tensor, Tensor \(\[1, 3, 8, 8\], \[1, 3, 8, 8\]\)"),
        ({"pixels": IMAGE}, r"pixels= a Tensor \(\[1, 3, 8, 8\]\)"),
        (({"pixels": IMAGE},), r"dict \(\[1, 3, 8, 8\]\)"),
        (([IMAGE],), r"list \(\[1, 3, 8, 8\]\)"),
        (Inputs(), r"nothing \(without tensors\)"),
    ],
)
def test_other_inputs_are_refused_in_their_words(example: Any, words: str) -> None:
    """Several tensors, keywords and dicts are named, with the way round."""
    with pytest.raises(UsageError, match=rf"called with, {words}; expected one tensor .* calibration="):
        image_shape(as_inputs(example))


def test_whole_numbers_are_refused() -> None:
    """Images become floats in 0…1, which a model that divides bytes by 255 would take for black; floats are fine."""
    with pytest.raises(UsageError, match=r"called with uint8 numbers.*to a uint8 tensor \[C, H, W\]"):
        require_floats(as_inputs(IMAGE.byte()))
    require_floats(as_inputs(IMAGE.half()))
