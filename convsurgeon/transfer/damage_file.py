"""The file that keeps measured damage: one per model, weights, data and seed; reused for every later target."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convsurgeon.base.files import write_whole
from convsurgeon.base.inputs import Inputs
from convsurgeon.families.family import Spec

__all__ = ["DamageFile", "Estimate", "data_hash", "spec_key", "weights_hash"]

VERSION = 2


@dataclass(frozen=True)
class Estimate:
    """``error`` = ‖y − ŷ‖² / ‖y − mean(y)‖² on ``held`` positions that were not fitted on; ``samples`` were.

    ``reliable`` is False where the data is too small to tell.
    """

    error: float
    samples: int
    held: int
    reliable: bool


def spec_key(spec: Spec) -> str:
    """A spec as text that does not change."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def weights_hash(model: nn.Module) -> str:
    """Of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        _feed(digest, tensor)
    return digest.hexdigest()[:16]


def data_hash(batches: Iterable[Inputs]) -> str:
    """Of every tensor in the inputs."""
    digest = hashlib.sha256()
    for inputs in batches:
        for tensor in inputs.tensors():
            _feed(digest, tensor)
    return digest.hexdigest()[:16]


def _feed(digest: hashlib._Hash, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    if tensor.numel():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


class DamageFile:
    """Estimates by site and spec, under ``key``; ``directory`` None keeps them in memory only."""

    def __init__(self, directory: Path | None, key: tuple[str, ...]) -> None:
        name = hashlib.sha256(" ".join((str(VERSION), *key)).encode()).hexdigest()[:16]
        self._path = None if directory is None else directory / f"damage-{name}.json"
        self._key = key
        self.sites: dict[str, dict[str, Estimate]] = self._read()

    def _read(self) -> dict[str, dict[str, Estimate]]:
        if self._path is None or not self._path.is_file():
            return {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["version"] != VERSION or tuple(content["key"]) != self._key:
                return {}
            return {
                site: {spec: Estimate(**fields) for spec, fields in found.items()}
                for site, found in content["sites"].items()
            }
        except (ValueError, KeyError, TypeError):
            # A cache that can't be read is no cache: everything in it can be measured again.
            return {}

    def add(self, site: str, estimates: dict[str, Estimate]) -> None:
        """Keep a site's estimates, on disk at once, so that an interrupted run resumes here."""
        self.sites.setdefault(site, {}).update(estimates)
        if self._path is None:
            return
        content = {
            "version": VERSION,
            "key": list(self._key),
            "sites": {
                name: {spec: vars(estimate) for spec, estimate in found.items()} for name, found in self.sites.items()
            },
        }
        # With indents, json would be encoded by Python itself, anew for every site.
        write_whole(self._path, json.dumps(content, sort_keys=True) + "\n")
