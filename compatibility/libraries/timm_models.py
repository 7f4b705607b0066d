"""timm: the smallest network of every family that has a convertible convolution (see ``timm_families``)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from compatibility.subjects import Subject, image, sides_from
from compatibility.timm_families import chosen, scan

__all__ = ["subject", "subjects"]


# Networks of one input size only that are built for a smaller one here: a training step at 1024×1024 takes 22 GiB.
_BUILT_FOR = {"samvit_base_patch16": 512}


def subjects(cache: Path, progress: Callable[[int, int, str], None]) -> tuple[Subject, ...]:
    """The chosen networks; the first time, every registered one is built once without weights."""
    return tuple(subject(name) for name in chosen(scan(cache, progress)))


def subject(name: str) -> Subject:
    """One registered network at the input size of its configuration."""
    settings = importlib.import_module("timm").get_pretrained_cfg(name)
    channels, native, _ = settings.input_size if settings is not None else (3, 224, 224)
    native = _BUILT_FOR.get(name, native)
    fixed = settings is not None and settings.fixed_input_size
    return Subject(
        "timm",
        name,
        partial(_build, name),
        partial(_images, channels),
        sides=(native,) if fixed else sides_from(native),
    )


def _images(channels: int, batch: int, side: int) -> tuple[Tensor, ...]:
    return (image(batch, side, channels),)


def _build(name: str) -> nn.Module:
    size = {"img_size": _BUILT_FOR[name]} if name in _BUILT_FOR else {}
    model: nn.Module = importlib.import_module("timm").create_model(name, pretrained=False, **size)
    return model
