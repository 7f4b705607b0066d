"""Where weights come from: the request as a user words it, and the model with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.models.origin import WeightsOrigin

__all__ = [
    "WeightedModel",
    "WeightsRequest",
    "parse_weights",
    "random_origin",
]

_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
Transform = Callable[[Any], torch.Tensor]


@dataclass(frozen=True)
class WeightsRequest:
    """What the user asked for: ``kind`` "named" carries ``name``, "file" carries ``path``, and ``key`` in it."""

    kind: Literal["auto", "none", "named", "file"]
    name: str = ""
    path: Path = Path()
    key: str = ""


@dataclass(frozen=True)
class WeightedModel:
    """A model with its weights, before it is moved to a device; ``spec`` names its architecture."""

    spec: str
    model: nn.Module
    origin: WeightsOrigin
    categories: tuple[str, ...] | None = None
    transform: Transform | None = None


def parse_weights(weights: str | Path, key: str | None = None) -> WeightsRequest:
    """Read ``auto``, ``none``, ``DEFAULT``, the name of pretrained weights, or a file.

    A word is a file when it has a folder in it, ends like a weight file, or exists. ``key`` is the dotted path of the
    state dict in it.

    Raises:
        UnknownName: a file that does not exist, or is a folder.
        UsageError: a key without a file.
    """
    request = _parse(weights)
    if key and request.kind != "file":
        raise UsageError(
            f"the weights key '{key}' is a place in a file, and the weights '{weights}' are none; expected "
            "--weights FILE (weights= in Python) beside it."
        )
    return replace(request, key=key or "")


def _parse(weights: str | Path) -> WeightsRequest:
    text = str(weights).strip()
    if text.lower() in ("auto", "none"):
        return WeightsRequest("none" if text.lower() == "none" else "auto")
    if text.upper() == "DEFAULT":
        return WeightsRequest("named", name="DEFAULT")
    path = Path(text).expanduser()
    looks_like_file = isinstance(weights, Path) or "/" in text or path.suffix.lower() in _FILE_ENDINGS
    if text and (path.is_file() or looks_like_file):
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise UnknownName(
                f"the weights file {text} {found}; expected a state dict as .safetensors, .pth, .pt or .bin."
            )
        return WeightsRequest("file", path=path)
    return WeightsRequest("named", name=text)


def random_origin(reason: str, seed: int) -> WeightsOrigin:
    """The origin of random weights, with the reason why they are random."""
    return WeightsOrigin("random", f"random: {reason}, seed {seed}")
