"""Saved conversions: a folder with safetensors weights and JSON, loaded without pickle and without tracing."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelLoadError, UsageError
from convsurgeon.base.files import write_folder
from convsurgeon.base.tensor_file import read_tensors, write_tensors
from convsurgeon.conversion.remembered import Facts, remember
from convsurgeon.families.unit import GatedConv
from convsurgeon.models.loading import build_model, is_code
from convsurgeon.models.rebuild import Rebuild
from convsurgeon.models.strict_fit import load_strictly
from convsurgeon.planning.plan import Plan
from convsurgeon.report.folder import (
    MANIFEST,
    PLAN,
    REPORT,
    SAVED_FILES,
    WEIGHTS,
    Manifest,
    describe,
    read_manifest,
    read_report,
    read_saved_plan,
    rebuild_of,
)
from convsurgeon.report.record import Report
from convsurgeon.surgery.operate import operate

__all__ = ["load", "save"]

_ALIASES = TypeAdapter(dict[str, str])
_STRIDES = TypeAdapter(dict[str, tuple[Annotated[int, Field(ge=0, lt=1 << 48)], ...]])


def save(directory: Path, model: nn.Module, plan: Plan, report: Report, rebuild: Rebuild | None, force: bool) -> Path:
    """Write the folder: all of it, or nothing.

    Raises:
        OutputExists: the folder is there and ``force`` is not given.
        ModelLoadError: the model's state holds something other than tensors.
    """
    tensors, aliases = _distinct(model)
    strides = {name: value.stride() for name, value in model.state_dict().items() if not _is_row_major(value)}

    def write(folder: Path) -> None:
        about = {"aliases": json.dumps(aliases), "strides": json.dumps(strides)}
        write_tensors(folder / WEIGHTS, tensors, about)
        manifest = Manifest.model_validate(
            {
                **describe(rebuild, directory),
                "torch": str(torch.__version__),
                "weights_sha256": _digest(folder / WEIGHTS),
            }
        )
        (folder / PLAN).write_text(plan.to_json(), encoding="utf-8")
        (folder / REPORT).write_text(report.to_json(), encoding="utf-8")
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    return write_folder(directory, write, force, SAVED_FILES)


def _distinct(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """State tensors that share no memory, and for each left-out name the one that holds its tensor."""
    first: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor):
            raise ModelLoadError(f"the model's state '{name}' is a {type(value).__name__}; only tensors can be saved.")
        if value.is_meta:
            raise ModelLoadError(f"the model's state '{name}' is on the meta device, where tensors have no values.")
        if id(value) in first:
            aliases[name] = first[id(value)]
            continue
        first[id(value)] = name
        tensors[name] = value.detach().cpu().contiguous()
    storages: dict[int, str] = {}
    for name, tensor in tensors.items():
        if storages.setdefault(tensor.untyped_storage().data_ptr(), name) != name and tensor.numel():
            tensors[name] = tensor.clone()
    return tensors, aliases


def _is_row_major(tensor: torch.Tensor) -> bool:
    """Whether the strides are the default ones; is_contiguous overlooks axes of length 1, and kernels do not."""
    return tensor.stride() == torch.empty(tensor.shape, device="meta").stride()


def _restride(tensor: torch.Tensor, wanted: tuple[int, ...] | None) -> None:
    """Give a tensor strides read from a file (its values are lost), or the default ones."""
    strides = wanted or tuple(torch.empty(tensor.shape, device="meta").stride())
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=False))
    # Overlapping or gappy strides are a damaged file's, or those of a slice, which is saved as a tensor of its own.
    if len(strides) == tensor.dim() and tensor.stride() != strides and reach == tensor.numel():
        tensor.data = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)


def load(directory: Path | str, *, model: nn.Module | None = None, trust_factory: bool = False) -> nn.Module:
    """Return the converted network in eval mode, bit-equal to the one that was saved.

    ``model`` is the original architecture (its weights do not matter; it is copied). Without it, torchvision and
    timm names are built; a factory named in the folder is code and needs ``trust_factory=True``.

    Raises:
        UnknownName: no saved model there.
        UsageError: the architecture is the caller's own or a factory's, and none was given or trusted.
        ModelLoadError: damaged files, weights that do not fit, or a factory's file that is gone or another one.
    """
    folder = Path(directory)
    manifest = read_manifest(folder)
    base = _base(manifest, folder, model, trust_factory)
    plan = read_saved_plan(folder)
    _check_digest(folder, manifest)
    network = operate(base, plan).eval()
    _restore(network, folder / WEIGHTS)
    # Without a report that can be read the network still loads; nothing is then known of its conversion.
    with suppress(UsageError):
        remember(network, Facts(plan, read_report(folder), rebuild_of(manifest, folder)))
    return network


def _check_digest(folder: Path, manifest: Manifest) -> None:
    """A flipped bit, or another model's weights of the same shapes, would load without a word."""
    if manifest.weights_sha256 is None or not (folder / WEIGHTS).is_file():
        return
    if _digest(folder / WEIGHTS) != manifest.weights_sha256:
        raise ModelLoadError(
            f"{folder / WEIGHTS} is not what was saved there: its SHA-256 is not the one in {MANIFEST}. Save the "
            f"conversion again; if the weights were changed on purpose, remove weights_sha256 from {MANIFEST}."
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _base(manifest: Manifest, folder: Path, model: nn.Module | None, trust_factory: bool) -> nn.Module:
    if model is not None:
        return duplicate(model)
    rebuild = rebuild_of(manifest, folder)
    if rebuild is None:
        raise UsageError(
            f"'{folder}' was converted from a model object; pass the original architecture: load(dir, model=...)."
        )
    if is_code(rebuild) and not trust_factory:
        raise UsageError(
            f"'{folder}' is built by the factory '{rebuild.name}', which is code. Pass trust_factory=True "
            "(--trust-factory on the command line) to run it, or pass model=... yourself."
        )
    return build_model(rebuild.from_here())


def _of_before(model: nn.Module) -> dict[str, torch.Tensor]:
    """The buffers that weights saved by an earlier version lack, with the values of a fresh unit."""
    return {
        f"{name}.{buffer}" if name else buffer: unit.get_buffer(buffer)
        for name, unit in model.named_modules()
        if isinstance(unit, GatedConv)
        for buffer in unit.newer_buffers
    }


def _restore(model: nn.Module, path: Path) -> None:
    """Copy the saved tensors in place, so that shared parameters stay shared; dtypes and formats follow the file."""
    state, about = read_tensors(path)
    try:
        aliases = _ALIASES.validate_json(about.get("aliases", "{}"))
        strides = _STRIDES.validate_json(about.get("strides", "{}"))
    except ValidationError as error:
        raise ModelLoadError(
            f"{path} can't be read: its header holds no names ('aliases') or layouts ('strides') as a saved conversion "
            "has them. Save the conversion again."
        ) from error
    state |= {name: state[source] for name, source in aliases.items() if source in state}
    state = _of_before(model) | state
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name not in state or not isinstance(tensor, torch.Tensor):
            continue
        if tensor.dtype != state[name].dtype:
            tensor.data = tensor.data.to(state[name].dtype)
        # Kernels round differently by memory format, and outputs are to be bit-equal.
        _restride(tensor, strides.get(name))
    load_strictly(model, state, str(path), "the architecture")
