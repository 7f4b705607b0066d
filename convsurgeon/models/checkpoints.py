"""Checkpoint files of all trainers: reading one, and finding the state dict in it."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from convsurgeon.base.errors import ModelLoadError, UnknownName, UsageError, first_line
from convsurgeon.base.tensor_file import tensors_of
from convsurgeon.models.state_dict import StateDict, below, layout_versions, with_versions

__all__ = ["CHOOSE", "Checkpoint", "read_checkpoint"]

CHOOSE = "Choose with --weights-key KEY (weights_key= in Python)"

# Under what names trainers keep a network's weights; whatever else holds tensors is taken only if it stands alone.
_USUAL = {"state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights"} | {
    *("state_dict_ema", "ema_state_dict", "model_ema", "model_ema_state_dict", "ema_model", "ema", "params_ema")
}


_DEEPEST = 20


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of a file.

    ``key`` says where it stood, dotted and empty at the top, ``passed_over`` where others stand.
    """

    state: StateDict
    key: str = ""
    passed_over: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """What was taken out of the file and what was not."""
        if not self.key:
            return ()
        others = f"; passed over {_listed(self.passed_over)}" if self.passed_over else ""
        return (f"the weights are the file's '{self.key}'{others}",)


def read_checkpoint(path: Path, key: str = "") -> Checkpoint:
    """Read a file on the CPU and find its state dict, at the dotted path ``key`` where several could be meant.

    Safetensors are read as such, whatever the file is called; anything else by ``torch.load(weights_only=True)``, so
    code in a pickle never runs.

    Raises:
        ModelLoadError: the file is corrupt, holds Python objects, or holds no state dict.
        UsageError: it holds several, and ``key`` does not say which.
        UnknownName: it holds none at ``key``.
    """
    try:
        content = _read_file(path)
    except Exception as error:
        raise ModelLoadError(
            f"{path} can't be read as weights: {_reading_words(error)}. Expected a .safetensors file, or one "
            "written by torch.save(model.state_dict(), FILE)."
        ) from error
    everything = dict(_state_dicts(content))
    found = dict(_state_dicts(_at(content, key), key)) if key else everything
    if not found:
        raise _none_at(key, everything, path) if key and everything else _no_state_dict(content, path)
    chosen = _only(found, path)
    others = tuple(other for other in everything if other not in ("", chosen) and not chosen.startswith(f"{other}."))
    state = found[chosen]
    return Checkpoint(with_versions(state, layout_versions(state)), chosen, others if chosen else ())


def _state_dicts(
    content: Any, where: str = "", around: tuple[int, ...] = ()
) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    """Every state dict in a checkpoint, by its dotted path; an optimizer's state is none.

    ``around`` are the dictionaries that it stands in: one that holds itself has no end, and nobody nests so deep.
    """
    if not isinstance(content, Mapping) or "param_groups" in content:
        return
    if id(content) in around or len(around) > _DEEPEST:
        return
    if _is_state_dict(content):
        yield where, content
        return
    for key, value in content.items():
        yield from _state_dicts(value, f"{where}.{key}" if where else str(key), (*around, id(content)))


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    """Whether there are names and tensors and nothing else; numbers alone are what callbacks and metrics keep."""
    tensors = [value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)]
    return len(tensors) == len(content) and any(tensor.dim() for tensor in tensors)


def _at(content: Any, key: str) -> Any:
    """What stands at a dotted path, whose last parts may be a prefix of a state dict's names; None if nothing does."""
    if not key or not isinstance(content, Mapping):
        return None if key else content
    if _is_state_dict(content):
        return below(content, f"{key}.")
    head = next((head for head in content if key == head or key.startswith(f"{head}.")), None)
    return None if head is None else _at(content[head], key[len(str(head)) + 1 :])


def _only(found: Mapping[str, Any], path: Path) -> str:
    usual = [key for key in found if _USUAL.issuperset(key.split("."))]
    options = usual or list(found)
    if len(options) > 1:
        raise UsageError(f"{path} holds several state dicts: {_listed(options)}. {CHOOSE}.")
    return options[0]


def _listed(keys: Any) -> str:
    return ", ".join(f"'{key}'" for key in keys)


def _none_at(key: str, everything: Mapping[str, Any], path: Path) -> UnknownName:
    known = _listed(filter(None, everything)) or "one at the top; leave the key out"
    return UnknownName(f"{path} holds no state dict at '{key}'. It holds {known}.")


def _no_state_dict(content: Any, path: Path) -> ModelLoadError:
    if not isinstance(content, Mapping) or not content:
        return ModelLoadError(f"{path} holds a {type(content).__name__}; expected a state dict: names and tensors.")
    strange = {key: value for key, value in content.items() if not isinstance(value, torch.Tensor)} or content
    key, value = next(iter(strange.items()))
    return ModelLoadError(
        f"{path} holds no plain state dict: {key!r} is a {type(value).__name__}; expected names and tensors, at the "
        'top or under a name such as "state_dict".'
    )


def _read_file(path: Path) -> Any:
    if _is_safetensors(path):
        return tensors_of(path)[0]
    # Trainers keep their command line beside the weights; a Namespace holds values and runs nothing.
    with (
        path.open("rb") as file,  # of a path torch heeds the ending
        warnings.catch_warnings(),
        torch.serialization.safe_globals([argparse.Namespace]),
    ):
        warnings.simplefilter("ignore")  # on old pickle protocols; what can't be read raises
        return torch.load(file, map_location="cpu", weights_only=True)


def _is_safetensors(path: Path) -> bool:
    """Whatever its name says: JSON behind its length in eight bytes; a damaged file is what it is called."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return True
    return path.suffix.lower() == ".safetensors" and not start.startswith(b"PK")


def _reading_words(error: Exception) -> str:
    refused = re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", str(error))
    if refused:
        return f"it holds Python objects ({refused[1]}), which are never unpickled"
    words = first_line(error)
    if "TorchScript archive" in words:
        return "it is a TorchScript archive, which is code as well as weights"
    if "PytorchStreamReader" in words:
        return "it is an archive of torch's, but not of weights, or cut short"
    if not isinstance(error, (OSError, RuntimeError, SafetensorError)):
        # The reader stumbled over the bytes; its words (a KeyError's number, say) mean nothing to a person.
        return "it is corrupt, or no weights at all"
    # torch's own advice (weights_only=False) would run whatever code is in the file
    return "it is corrupt, or no weights at all" if "weights_only" in words or "Weights only" in words else words
