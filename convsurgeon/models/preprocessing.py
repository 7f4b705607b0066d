"""How an image becomes a model's input, in the words of people: sizes, crop, interpolation, mean and deviation.

Reports hold these records, so torch is imported only where a transform is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator

from convsurgeon.base.errors import UsageError
from convsurgeon.base.records import Record

if TYPE_CHECKING:
    from convsurgeon.models.weights import Transform

__all__ = ["Preparation", "Preprocessing"]

_LARGEST_SIDE, _LARGEST_SHIFT, _DIGITS = 16_384, 1e6, 9


class Preprocessing(Record):
    """Resize, centre crop, scale to 0…1, then (x − mean) / std for each channel; each field is an option, too."""

    mean: tuple[float, ...] | None = Field(None, description="Subtracted from channels in 0…1: 0.485,0.456,0.406.")
    std: tuple[float, ...] | None = Field(None, description="Channels are divided by it: 0.229,0.224,0.225.")
    resize: tuple[int, ...] | None = Field(
        None, description="Shorter side (256), or height and width (256,320), before the crop.  [default: the crop's]"
    )
    crop: tuple[int, ...] | None = Field(
        None, description="Centre crop: 224, or height and width.  [default: the model's input]"
    )
    interpolation: Literal["bilinear", "bicubic", "nearest"] | None = Field(
        None, description="Of the resizing: bilinear, bicubic or nearest.  [default: bilinear]"
    )

    @classmethod
    def of(cls, transform: Transform) -> Preprocessing | None:
        """What the transform of torchvision's classifiers says of itself; None of any other."""
        places = {"mean": "mean", "std": "std", "resize": "resize_size", "crop": "crop_size"}
        found = {field: getattr(transform, place, None) for field, place in places.items()}
        interpolation = getattr(getattr(transform, "interpolation", None), "value", None)
        if not all(isinstance(numbers, (list, tuple)) for numbers in found.values()) or interpolation is None:
            return None
        try:
            return cls(**found, interpolation=interpolation)
        except ValidationError:
            # In words that these settings do not have.
            return None

    @field_validator("mean", "std", "resize", "crop", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, (int, float)):
            return (value,)
        if isinstance(value, str):
            return tuple(map(_number, value.split(",")))
        return tuple(value) if isinstance(value, list) else value

    @field_validator("resize", "crop")
    @classmethod
    def _sizes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (len(value) not in (1, 2) or not all(0 < size <= _LARGEST_SIDE for size in value)):
            raise ValueError(f"{_list(value)} is no size; expected one or two numbers from 1 to {_LARGEST_SIDE}")
        return value

    @field_validator("mean", "std")
    @classmethod
    def _per_channel(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) not in (1, 3) or not all(abs(part) < _LARGEST_SHIFT for part in value)):
            raise ValueError(f"{_list(value)} is not one finite number for each of 1 or 3 channels")
        return value

    @field_validator("std")
    @classmethod
    def _divisor(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and min(value) <= 0:
            raise ValueError(f"{_list(value)} can't be divided by; expected numbers above 0")
        return value

    def beyond_scale(self) -> str | None:
        """What to say of means and deviations that no channel in 0…1 has; None where they can be meant."""
        numbers = {"mean": self.mean, "std": self.std}
        large = {name: values for name, values in numbers.items() if values is not None and max(values) > 1}
        if not large:
            return None
        said = " and ".join(f"{name} {_list(values)}" for name, values in large.items())
        return (
            f"{said} is BEYOND THE SCALE of the images, which are scaled to 0…1 first; numbers on the scale of 0…255 "
            "are divided by 255, e.g. --mean 0.5 for 127.5"
        )

    @property
    def given(self) -> dict[str, str]:
        """What was said, in the words of the options."""
        return {name: value if isinstance(value, str) else _list(value) for name, value in self if value is not None}

    def transform(self, shape: Sequence[int]) -> Transform:
        """From a PIL image to [C, H, W].

        ``shape`` is the model's input [N, C, H, W] with C = 1 (read as grey) or 3 (read as RGB); or [C, H, W], one
        image of a list, which keeps its own size unless another was given.

        Raises:
            UsageError: another shape, which images can't be made into, or means for another number of channels.
        """
        if len(shape) not in (3, 4) or shape[-3] not in (1, 3):
            raise UsageError(
                f"images can't be made into the model's input {list(shape)}; expected [N, 1, H, W] or [N, 3, H, W]. "
                "From Python, pass calibration= any iterable of inputs."
            )
        channels, free = shape[-3], len(shape) == 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, channels):
                raise UsageError(f"{name} has {len(values)} numbers; the model's input has {channels} channels.")
        import torch
        from torchvision.transforms import InterpolationMode, v2

        crop = list(self.crop or (() if free else shape[2:]))
        resize = list(self.resize or ((min(crop),) if crop else ()))
        steps = [v2.PILToTensor(), v2.RGB() if channels == 3 else v2.Grayscale()]
        if resize:
            interpolation = InterpolationMode(self.interpolation or "bilinear")
            steps.append(v2.Resize(resize, interpolation=interpolation, antialias=True))
        if crop:
            steps.append(v2.CenterCrop(crop))
        steps.append(v2.ToDtype(torch.float32, scale=True))
        if self.mean is not None or self.std is not None:
            steps.append(v2.Normalize(self._each(self.mean, 0.0, channels), self._each(self.std, 1.0, channels)))
        return v2.Compose(steps)

    @staticmethod
    def _each(values: tuple[float, ...] | None, default: float, channels: int) -> list[float]:
        values = values or (default,)
        return list(values if len(values) == channels else values * channels)


class Preparation(Record):
    """How the images of a run became inputs, and who said so.

    ``given``: options, a recipe or an earlier run; ``weights``: the pretrained weights' own; ``factory``: its
    ``transform``; ``guessed``: nobody, so that the settings are the plain ones.
    """

    source: Literal["given", "weights", "factory", "guessed"]
    settings: Preprocessing = Preprocessing()

    def doubt(self) -> str | None:
        """What a run should say aloud: that the settings are a guess, or look like those of another scale."""
        if self.source == "guessed":
            return self.describe()
        return self.settings.beyond_scale() if self.source == "given" else None

    def describe(self) -> str:
        """In one sentence."""
        if self.source == "guessed":
            return (
                "images were prepared in a GUESSED way (resized and cropped to its input size, if any, and scaled "
                "to 0…1), since nothing says how this model wants them; --mean, --std, --resize and --crop do, or "
                "[preprocessing]"
            )
        said = ", ".join(f"{name} {value}" for name, value in self.settings.given.items())
        words = {"weights": "by the weights' own preprocessing", "factory": "by the factory's transform"}
        return f"images prepared {words.get(self.source, f'as given: {said}')}"


def _list(values: Any) -> str:
    return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _number(word: str) -> int | float:
    return int(word) if word.strip().isdecimal() and len(word) <= _DIGITS else float(word)
