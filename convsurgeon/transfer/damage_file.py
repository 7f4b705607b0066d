"""The file that keeps measured damage: one per model, weights, data and seed; reused for every later target."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import FiniteFloat, NonNegativeInt
from torch import Tensor, nn

from convsurgeon.base.cache_file import CacheFile
from convsurgeon.base.inputs import Inputs
from convsurgeon.families.family import Spec

__all__ = ["DamageFile", "Estimate", "data_hash", "spec_key", "weights_hash"]

VERSION = 3


@dataclass(frozen=True)
class Estimate:
    """``error`` = ‖y − ŷ‖² / ‖y − mean(y)‖² on ``held`` positions that were not fitted on; ``samples`` were.

    ``reliable`` is False where the data is too small to tell. A candidate that was not ``fitted`` loses ``error`` at
    least; another one that costs no more in anything loses less.
    """

    error: FiniteFloat
    samples: NonNegativeInt
    held: NonNegativeInt
    reliable: bool
    fitted: bool = True


def spec_key(spec: Spec) -> str:
    """A spec as text, a stable key for files."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def weights_hash(model: nn.Module) -> str:
    """A hash of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        _feed(digest, tensor)
    return digest.hexdigest()[:16]


def data_hash(batches: Iterable[Inputs]) -> str:
    """A hash of every tensor in the inputs."""
    digest = hashlib.sha256()
    for inputs in batches:
        for tensor in inputs.tensors():
            _feed(digest, tensor)
    return digest.hexdigest()[:16]


def _feed(digest: hashlib._Hash, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    if tensor.numel():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


class DamageFile(CacheFile[Estimate]):
    """Estimates by site and spec, under ``key``; ``directory`` None keeps them in memory only."""

    def __init__(self, directory: Path | None, key: tuple[str, ...]) -> None:
        super().__init__(directory, "damage", (str(VERSION), *key), Estimate)

    def errors(self, name: str, specs: Iterable[Spec]) -> dict[Spec, float]:
        """The errors of a site's specs that were fitted."""
        found = {spec: self.entries.get(name, {}).get(spec_key(spec)) for spec in specs}
        return {spec: entry.error for spec, entry in found.items() if entry is not None and entry.fitted}
