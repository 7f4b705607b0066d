"""Preprocessing in people's words: the numbers an image becomes, and what is refused."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from convsurgeon.base.errors import UsageError
from convsurgeon.models.preprocessing import Preprocessing

HALF_GREY = Image.new("RGB", (40, 20), (255, 0, 51))


def test_channels_are_shifted_and_scaled_by_mean_and_deviation() -> None:
    """Each channel becomes (x − mean) / std."""
    given = Preprocessing.model_validate({"mean": "0.5,0,0.1", "std": "0.5,1,0.1"})
    image = given.transform((1, 3, 8, 8))(HALF_GREY)
    assert torch.allclose(image.mean((1, 2)), torch.tensor([1.0, 0.0, 1.0]), atol=1e-5)


def test_one_number_stands_for_every_channel() -> None:
    """A single mean or deviation holds for all channels."""
    image = Preprocessing(mean=(1.0,)).transform((1, 3, 8, 8))(HALF_GREY)
    assert torch.allclose(image.mean((1, 2)), torch.tensor([0.0, -1.0, -0.8]), atol=1e-5)


def test_the_shorter_side_is_resized_before_the_crop() -> None:
    """One number keeps the proportions, two squeeze the whole picture; then the crop takes the centre."""
    partly_white = Image.new("L", (40, 20), 0)
    partly_white.paste(255, (0, 0, 15, 20))

    def white_columns(**given: tuple[int, ...]) -> float:
        image = Preprocessing(interpolation="nearest", **given).transform((1, 1, 8, 8))(partly_white)
        return float(image.mean() * 8)

    assert white_columns(resize=(8,)) == 2
    assert white_columns(resize=(8, 8)) == 3
    assert white_columns(resize=(20,)) == 0


@pytest.mark.parametrize(("interpolation", "known"), [("bicubic", True), ("lanczos", False)])
def test_what_a_transform_says_of_itself(interpolation: str, known: bool) -> None:
    """torchvision's transform of a classifier names its numbers, if in words known here; other code does not."""
    own = ImageClassification(crop_size=8, mean=(0.5,), std=(0.5,), interpolation=InterpolationMode(interpolation))
    found = Preprocessing.of(own)
    assert (found is not None) == known
    if found is not None:
        assert found.given == {"mean": "0.5", "std": "0.5", "resize": "256", "crop": "8", "interpolation": "bicubic"}
    assert Preprocessing.of(torch.nn.Identity()) is None


def test_the_crop_need_not_be_the_models_input() -> None:
    """A crop that is said wins over the size of the example inputs."""
    assert Preprocessing(crop=(6, 10)).transform((1, 3, 8, 8))(HALF_GREY).shape == (3, 6, 10)


@pytest.mark.parametrize(
    ("field", "wrong", "right"),
    [
        ("std", "0,1,1", "0.1,1,1"),
        ("mean", "1,2", "1,2,3"),
        ("mean", "nan", "0"),
        ("resize", "0", "1"),
        ("crop", "1,2,3", "1,2"),
        ("crop", "99999999999999999999", "99"),
        ("interpolation", "box", "bicubic"),
    ],
)
def test_values_that_mean_nothing_are_refused(field: str, wrong: str, right: str) -> None:
    """Sizes are one or two positive numbers, means finite, deviations above 0."""
    Preprocessing.model_validate({field: right})
    with pytest.raises(ValidationError):
        Preprocessing.model_validate({field: wrong})


def test_means_for_other_channels_than_the_models_are_refused() -> None:
    """Three means need three channels."""
    three = Preprocessing(mean=(0.1, 0.2, 0.3))
    three.transform((1, 3, 8, 8))
    with pytest.raises(UsageError, match="mean has 3 numbers; the model's input has 1 channels"):
        three.transform((1, 1, 8, 8))
