"""Where weights come from: the request as a user words it, state dict files, the strict fit into a model."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn

from convsurgeon.base.errors import ModelLoadError, UnknownName, first_line
from convsurgeon.models.origin import WeightsOrigin

__all__ = [
    "WeightedModel",
    "WeightsRequest",
    "load_strictly",
    "parse_weights",
    "random_origin",
    "read_state_dict",
]

_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SHOWN_KEYS = 3

StateDict = OrderedDict[str, torch.Tensor]
Transform = Callable[[Any], torch.Tensor]


@dataclass(frozen=True)
class WeightsRequest:
    """What the user asked for: ``kind`` "named" carries ``name``, "file" carries ``path``."""

    kind: Literal["auto", "none", "named", "file"]
    name: str = ""
    path: Path = Path()


@dataclass(frozen=True)
class WeightedModel:
    """A model with its weights, before it is moved to a device; ``spec`` names its architecture."""

    spec: str
    model: nn.Module
    origin: WeightsOrigin
    categories: tuple[str, ...] | None = None
    transform: Transform | None = None


def parse_weights(weights: str | Path) -> WeightsRequest:
    """Read ``auto``, ``none``, ``DEFAULT``, the name of pretrained weights, or a file.

    A word is a file when it has a folder in it, ends like a weight file, or exists.

    Raises:
        UnknownName: a file that does not exist, or is a folder.
    """
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


def read_state_dict(path: Path) -> StateDict:
    """Read a state dict on the CPU, out of a checkpoint's "state_dict" or "model" and DDP's "module.".

    ``.safetensors`` is read by safetensors; anything else by ``torch.load(weights_only=True)``, so code in a
    pickle never runs.

    Raises:
        ModelLoadError: the file is corrupt, holds Python objects, or holds no state dict.
    """
    try:
        content = _read_file(path)
    except Exception as error:
        raise ModelLoadError(
            f"{path} can't be read as weights: {_reading_words(error)}. Expected a .safetensors file, or one "
            "written by torch.save(model.state_dict(), FILE)."
        ) from error
    return _without_ddp_prefix(_tensors(_unwrapped(content), path))


def load_strictly(model: nn.Module, state: Mapping[str, torch.Tensor], source: str, target: str) -> None:
    """Load ``state`` into ``model``; every key and every shape must fit.

    The model's content is undefined after a refusal.

    Raises:
        ModelLoadError: keys missing, unexpected or of another shape: how many, and the first few; weights that are
            not numbers, or infinite.
    """
    own = model.state_dict()
    _require_finite(state, {name for name, _ in model.named_parameters(remove_duplicate=False)}, source)
    own_shapes = {key: tensor.shape for key, tensor in own.items() if isinstance(tensor, torch.Tensor)}
    misshaped = [
        f"{key} {list(state[key].shape)} in the file, {list(shape)} in the model"
        for key, shape in own_shapes.items()
        if key in state and state[key].shape != shape
    ]
    fitting = OrderedDict(
        (key, tensor) for key, tensor in state.items() if own_shapes.get(key, tensor.shape) == tensor.shape
    )
    _set_versions(fitting, _versions(state) or _current_versions(own, state))
    try:
        report = model.load_state_dict(fitting, strict=False)
    except Exception as error:  # modules may load their state with code of their own
        raise ModelLoadError(f"{source} can't be loaded into {target}: {first_line(error)}.") from error
    missing = [key for key in report.missing_keys if key not in state]
    problems = [
        _count_and_show(missing, "missing in the file"),
        _count_and_show(report.unexpected_keys, "unknown to the model"),
        _count_and_show(misshaped, "of another shape"),
    ]
    if any(problems):
        raise ModelLoadError(
            f"{source} does not fit {target}: {'; '.join(filter(None, problems))}. Pass weights saved from "
            "this architecture, or a factory that builds theirs (path/file.py:factory)."
        )


def _require_finite(state: Mapping[str, torch.Tensor], parameters: Collection[str], source: str) -> None:
    """Refuse trained numbers that are none; buffers may be infinite on purpose (attention masks)."""
    broken = [
        name
        for name, tensor in state.items()
        if name in parameters and tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if broken:
        raise ModelLoadError(
            f"{source} holds weights that are not finite (NaN or infinity): {_count_and_show(broken, 'tensors')}. "
            "Nothing sensible can be computed with them; take weights of an earlier step."
        )


def _read_file(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on old pickle protocols; what can't be read raises
        return torch.load(path, map_location="cpu", weights_only=True)


def _reading_words(error: Exception) -> str:
    refused = re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", str(error))
    if refused:
        return f"it holds Python objects ({refused[1]}), which are never unpickled"
    words = first_line(error)
    if not isinstance(error, (OSError, RuntimeError, SafetensorError)):
        # The reader stumbled over the bytes; its words (a KeyError's number, say) mean nothing to a person.
        return "it is corrupt, or no weights at all"
    # torch's own advice (weights_only=False) would run whatever code is in the file
    return "it is corrupt, or no weights at all" if "weights_only" in words or "Weights only" in words else words


def _unwrapped(content: Any) -> Any:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def _tensors(content: Any, path: Path) -> StateDict:
    if not isinstance(content, Mapping) or not content:
        raise ModelLoadError(f"{path} holds a {type(content).__name__}; expected a state dict: names and tensors.")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ModelLoadError(
                f"{path} holds no plain state dict: {key!r} is a {type(value).__name__}; expected names and "
                'tensors, at the top or under "state_dict", "model_state_dict" or "model".'
            )
    state: StateDict = OrderedDict(content)
    _set_versions(state, _versions(content))
    return state


def _without_ddp_prefix(state: StateDict) -> StateDict:
    prefix = "module."
    if not all(key.startswith(prefix) for key in state):
        return state
    return OrderedDict((key.removeprefix(prefix), tensor) for key, tensor in state.items())


def _versions(state: Mapping[str, Any]) -> Any:
    """The layout version of each module, which torch keeps beside a state dict and safetensors does not."""
    return getattr(state, "_metadata", None)


def _set_versions(state: StateDict, versions: Any) -> None:
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]


def _current_versions(own: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own versions; but batch norms saved before they counted batches stay of an unknown one."""
    counter = "num_batches_tracked"
    return {
        module: version
        for module, version in (_versions(own) or {}).items()
        if f"{module}.{counter}" not in own or f"{module}.{counter}" in state
    }


def _count_and_show(items: list[str], what: str) -> str:
    if not items:
        return ""
    more = ", …" if len(items) > _SHOWN_KEYS else ""
    return f"{len(items)} {what} ({', '.join(items[:_SHOWN_KEYS])}{more})"
