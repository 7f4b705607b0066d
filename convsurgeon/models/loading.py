"""From a model's name to a model.

Names: torchvision's registered ones (``resnet50``, ``fcn_resnet50``; ``vit_b_16@IMAGENET1K_SWAG_E2E_V1`` for
weights that need another architecture or size than DEFAULT), ``timm:NAME``, ``package.module:factory``,
``path/file.py:factory``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convsurgeon.base.devices import usable_device
from convsurgeon.base.errors import ModelLoadError, UnknownName, UsageError
from convsurgeon.base.generators import seeded
from convsurgeon.base.inputs import Inputs
from convsurgeon.models import factories, timm_models, torchvision_models
from convsurgeon.models.input_sizes import parse_shape
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.rebuild import Rebuild
from convsurgeon.models.source import ModelSource, NamedModel
from convsurgeon.models.weights import Transform, parse_weights

__all__ = [
    "SOURCES",
    "LoadedModel",
    "build_model",
    "default_inputs",
    "is_code",
    "is_factory",
    "known_models",
    "load_model",
    "source_of",
    "stated_inputs",
]

# Asked in this order; a factory's name is whatever has a colon that no prefix claims.
SOURCES: tuple[ModelSource, ...] = (timm_models.SOURCE, factories.SOURCE, torchvision_models.SOURCE)


@dataclass(frozen=True)
class LoadedModel:
    """A model by name, ready to be called.

    Attributes:
        spec: the name, normalised; ``build_model(spec)`` builds this architecture again.
        model: in eval mode.
        example_inputs: batch 1, on the model's device and in its dtype.
        weights: where they came from.
        categories: the class names of pretrained weights, where known.
        transform: the pretrained weights' preprocessing, PIL image to [C, H, W], where known.
        guessed_input: nothing says what the model is called with, so the inputs' shape is an assumption.
    """

    spec: str
    model: nn.Module
    example_inputs: Inputs
    weights: WeightsOrigin
    categories: tuple[str, ...] | None
    transform: Transform | None
    guessed_input: bool = False


def load_model(
    spec: str,
    *,
    weights: str | Path = "auto",
    weights_key: str | None = None,
    input_shape: str | Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> LoadedModel:
    """Build a model by name, with weights and example inputs.

    Args:
        spec: the model's name.
        weights: ``auto`` (pretrained where cached or downloadable, else random and saying so), ``DEFAULT`` or
            a name such as ``IMAGENET1K_V1`` (these fail if they can't be had), ``none`` (random), or a file.
            A factory's own weights count as the caller's under ``auto``.
        weights_key: the dotted path of the state dict in a file that holds several.
        input_shape: ``"1,3,224,224"`` or integers; for a detector that many images, for RAFT both frames.
        device: where the model and the inputs live.
        seed: of random weights and of the example inputs; torch's global generator is left as it was.

    Raises:
        UnknownName: no such model, weights or file; with near matches.
        UsageError: a malformed input shape, an unusable device, timm missing.
        ModelLoadError: the model can't be built, or its weights can't be had or don't fit.
    """
    target = usable_device(device)
    shape = None if input_shape is None else parse_shape(input_shape)
    request = parse_weights(weights, weights_key)
    with seeded(seed):
        source = _resolve(spec)
        weighted = source.load(request, seed)
        # weights by name may need another architecture and input size than the bare name's
        source = source if weighted.spec == source.spec else _resolve(weighted.spec)
        model = weighted.model.eval().to(target)
        inputs = source.inputs(shape, seed, model).to(target).like(model)
    guessed = shape is None and not source.states_inputs
    return LoadedModel(weighted.spec, model, inputs, weighted.origin, weighted.categories, weighted.transform, guessed)


def build_model(spec: str, *, device: str | torch.device = "cpu") -> nn.Module:
    """Build a model's architecture in eval mode, without reading weights; a factory's code runs.

    On ``"meta"`` no memory is taken for the weights.

    Raises:
        UnknownName: no such model; with near matches.
        ModelLoadError: it can't be built, or not on the meta device (torchvision's RegNets can't).
    """
    target = usable_device(device)
    with seeded(0):
        if target.type != "meta":
            return _resolve(spec).build().eval().to(target)
        source = _resolve(spec)
        with torch.device("meta"):
            model = source.build().eval()
    stray = [name for name, tensor in model.state_dict().items() if not tensor.is_meta]
    if stray:
        raise ModelLoadError(
            f"{spec} can't be built on the meta device: {len(stray)} of its tensors are elsewhere "
            f"({stray[0]}, …). Build it on cpu."
        )
    return model


def default_inputs(
    spec: str, *, input_shape: str | Sequence[int] | None = None, device: str | torch.device = "cpu"
) -> Inputs:
    """Example inputs of batch 1 for a model by name, without building it (a detector is built on meta).

    Image classifiers and video models take the size of their DEFAULT weights' transforms (clips have 16
    frames), segmentation networks 520×520, detectors a list of one square image of their own smallest side,
    RAFT two 128×128 frames, timm's models their configured size, factories their attribute
    ``example_inputs`` or [1, 3, 224, 224].

    Raises:
        UnknownName: no such model; with near matches.
        UsageError: a malformed input shape.
    """
    return stated_inputs(spec, input_shape)[0].to(usable_device(device))


def stated_inputs(spec: str, input_shape: str | Sequence[int] | None = None) -> tuple[Inputs, bool]:
    """``default_inputs``, and whether the shape or the model's name states them; else they are an assumption."""
    shape = None if input_shape is None else parse_shape(input_shape)
    with seeded(0):
        source = _resolve(spec)
        return source.inputs(shape, seed=0), shape is not None or source.states_inputs


def known_models(source: ModelSource | None = None) -> list[str]:
    """The names that a source knows, sorted; torchvision's by default."""
    return (source or torchvision_models.SOURCE).names()


def source_of(spec: str) -> ModelSource:
    """Where a model of this name comes from.

    Raises:
        UnknownName: no source takes such a name.
    """
    name = spec.strip()
    for source in SOURCES:
        if source.takes(name):
            return source
    prefix = name.partition(":")[0]
    forms = ", ".join(source.form for source in SOURCES)
    raise UnknownName(
        f"'{name}' names no model: there is no source '{prefix}:' and no module '{prefix}' that could be imported; "
        f"expected {forms}."
    )


def is_factory(spec: str) -> bool:
    """Whether the name stands for code of the user's own, which building the model would run."""
    return source_of(spec).is_code


def is_code(rebuild: Rebuild) -> bool:
    """Whether building a saved network again runs code of the user's own, also where that is not to be found here."""
    return rebuild.file is not None or is_factory(rebuild.name)


def _resolve(spec: str) -> NamedModel:
    name = spec.strip()
    if name.endswith(".py"):
        raise UsageError(f"{name} names a file; say which function in it builds the model: {name}:FUNCTION.")
    if Path(name).is_file():
        raise UsageError(
            f"{name} is a file, and surgery works on a network's Python modules: name the function that builds them, "
            "path/file.py:FUNCTION, or a known architecture, and pass a file of weights by --weights FILE."
        )
    return source_of(name).find(name)
