"""Checkpoints: one safetensors file each, the scalars as JSON in its header, replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import FiniteFloat, NonNegativeInt, ValidationError
from torch import Tensor, nn

from convsurgeon.base.drafts import drafting
from convsurgeon.base.errors import ModelLoadError, OutputExists, UnknownName, UsageError
from convsurgeon.base.records import Record
from convsurgeon.base.tensor_file import read_tensors, write_tensors
from convsurgeon.recovery.history import HistoryRow, Score
from convsurgeon.recovery.settings import RecoverSettings

__all__ = ["BEST", "LAST", "Checkpoints", "Saved", "Standing", "model_state", "restore_model"]

LAST, BEST = "last.safetensors", "best.safetensors"
# These may change from one start to the next: they do not touch the weights.
_FREE = frozenset({"checkpoint_every"})


class Standing(Record):
    """Where a run stands, as scalars. ``identity`` hashes what it was started on."""

    format: Literal[1] = 1
    settings: RecoverSettings
    identity: str
    total_steps: NonNegativeInt
    step: NonNegativeInt
    epoch: NonNegativeInt
    position: NonNegativeInt
    images: NonNegativeInt
    loss_sum: FiniteFloat
    loss_count: NonNegativeInt
    original: Score
    before: Score
    best: Score | None
    kept_step: NonNegativeInt
    rows: tuple[HistoryRow, ...]
    engine: dict[str, float]
    extras: tuple[dict[str, bool | int | float | str | None], ...]


@dataclass(frozen=True)
class Saved:
    """One checkpoint: scalars, and tensors by ``ROOM/NAME`` (model, best, optimiser, source, extra0 …)."""

    standing: Standing
    tensors: dict[str, Tensor]

    def room(self, name: str) -> dict[str, Tensor]:
        """The tensors of one room, by their names in it."""
        return {key.removeprefix(f"{name}/"): t for key, t in self.tensors.items() if key.startswith(f"{name}/")}


class Checkpoints:
    """The folder of ``last.safetensors`` and ``best.safetensors``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def refuse_existing(self) -> None:
        """Refuse to start over what an earlier run left.

        Raises:
            OutputExists: there is a checkpoint.
        """
        if (self.folder / LAST).is_file():
            raise OutputExists(
                f"'{self.folder}' holds an earlier run's checkpoint: go on with --resume (resume=True), or remove the "
                "folder to start anew."
            )

    def remove(self) -> None:
        """Forget an earlier run."""
        for name in (LAST, BEST):
            (self.folder / name).unlink(missing_ok=True)

    def save_last(self, saved: Saved) -> None:
        """Everything that a resumed run needs."""
        _write(self.folder / LAST, saved.tensors, {"standing": saved.standing.model_dump_json()})

    def save_best(self, state: Mapping[str, Tensor], step: int, score: Score) -> None:
        """The weights alone."""
        about = {"step": str(step), "score": score.model_dump_json()}
        _write(self.folder / BEST, {f"model/{name}": t for name, t in state.items()}, about)

    def load_last(self, settings: RecoverSettings, identity: str) -> Saved:
        """The last checkpoint of a run with these settings on this model and data.

        Raises:
            UnknownName: there is none.
            ModelLoadError: it is damaged.
            UsageError: it belongs to a run with other settings, another model or other data.
        """
        path = self.folder / LAST
        if not path.is_file():
            raise UnknownName(f"no checkpoint to resume from at '{path}'; start without --resume (resume=False).")
        tensors, about = read_tensors(path)
        try:
            standing = Standing.model_validate_json(about.get("standing", ""), strict=True)
        except ValidationError as error:
            raise ModelLoadError(f"{path} is no checkpoint of this version of recover.") from error
        _same_run(path, standing, settings, identity)
        return Saved(standing, tensors)

    def load_best(self) -> dict[str, Tensor]:
        """The best weights so far, by their names in the model.

        Raises:
            ModelLoadError: the file is missing or damaged.
        """
        tensors, _ = read_tensors(self.folder / BEST)
        return {name.removeprefix("model/"): tensor for name, tensor in tensors.items()}


def _same_run(path: Path, standing: Standing, settings: RecoverSettings, identity: str) -> None:
    for name in RecoverSettings.model_fields:
        was, now = getattr(standing.settings, name), getattr(settings, name)
        if was != now and name not in _FREE:
            raise UsageError(
                f"{path} was written with {name} = {was}, and now it is {now}: that would be another run. Resume with "
                "the same settings, or start anew elsewhere."
            )
    if standing.identity != identity:
        raise UsageError(
            f"{path} belongs to another model, other data or another number of images a step; resume with what the "
            "run was started on."
        )


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters and buffers on the CPU, each once, in the layout that they have."""
    seen: set[int] = set()
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise ModelLoadError(f"the model's state '{name}' is a {type(tensor).__name__}; only tensors can be saved.")
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor.detach().cpu().clone()
    return state


def restore_model(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into the model, in place.

    Raises:
        ModelLoadError: the names or shapes do not fit.
    """
    own = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in state.items():
            if name not in own or own[name].shape != tensor.shape:
                raise ModelLoadError(f"the checkpoint's '{name}' {list(tensor.shape)} does not fit the network.")
            own[name].copy_(tensor)


def _write(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str]) -> None:
    """Write beside the old file and take its place, so that a kill at any moment leaves a whole one."""
    with drafting(path.parent) as draft:
        new = draft / path.name
        write_tensors(new, {key: t.detach().cpu().contiguous() for key, t in tensors.items()}, about)
        with new.open("rb") as file:
            os.fsync(file.fileno())
