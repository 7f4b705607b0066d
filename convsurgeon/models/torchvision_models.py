"""torchvision's registered models: names, architectures, pretrained weights and input sizes.

One name, one architecture: a model is built the way its pretrained weights need it, whether or not they are
loaded. Segmentation networks keep their auxiliary head, GoogLeNet drops its own, Inception and GoogLeNet
transform their input, detectors have frozen batch norms. So a plan made on random weights fits the pretrained
model, and a saved model is rebuilt exactly, without its pretrained file.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision import models as zoo
from torchvision.models import WeightsEnum

from convsurgeon.base.errors import (
    ModelLoadError,
    UnknownName,
    UsageError,
    WeightsUnavailable,
    did_you_mean,
    first_line,
)
from convsurgeon.base.inputs import Inputs
from convsurgeon.models.checkpoints import read_checkpoint
from convsurgeon.models.downloads import fetch
from convsurgeon.models.from_file import load_from_file
from convsurgeon.models.input_sizes import Layout, random_inputs
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.source import ModelSource
from convsurgeon.models.torchvision_weights import WeightsInHand, find_weights, needs
from convsurgeon.models.weights import (
    Transform,
    WeightedModel,
    WeightsRequest,
    random_origin,
)

__all__ = ["SOURCE", "TorchvisionModel", "torchvision_model", "torchvision_names"]

_VIDEO_FRAMES = 16  # the clip length behind every figure torchvision publishes for its video models
_LAYOUTS: dict[str, Layout] = {"detection": "image list", "video": "video", "optical_flow": "frame pair"}
_BUILT_TWICE = ("googlenet", "inception")


def torchvision_names() -> list[str]:
    """Every name torchvision registers, sorted."""
    return list(zoo.list_models())


def torchvision_model(spec: str) -> TorchvisionModel:
    """Read ``resnet50``, or ``vit_b_16@IMAGENET1K_SWAG_E2E_V1`` for the architecture that those weights need.

    Raises:
        UnknownName: no registered model, or no weights of that name; with near matches.
    """
    name, _, member = spec.partition("@")
    name = name.strip().lower()
    known = torchvision_names()
    if name not in known:
        if (Path(spec.strip()) / "convsurgeon.json").is_file():
            raise UnknownName(
                f"'{spec.strip()}' is a saved conversion, and a model's name was expected; 'convsurgeon report', "
                "bench, lower, export, recover and check take its folder."
            )
        hint = did_you_mean(name, known) or " timm's models are named timm:NAME, your own package.module:factory."
        raise UnknownName(f"torchvision has no model {name!r}.{hint}")
    return TorchvisionModel(name, find_weights(name, member.strip() or "DEFAULT"))


@dataclass(frozen=True)
class TorchvisionModel:
    """A registered name and the weights whose architecture and input size it stands for."""

    name: str
    member: WeightsEnum

    @property
    def spec(self) -> str:
        """The name; with ``@MEMBER`` where those weights need another architecture or size than DEFAULT."""
        default = find_weights(self.name, "DEFAULT")
        return self.name if needs(self.member) == needs(default) else f"{self.name}@{self.member.name}"

    @property
    def states_inputs(self) -> bool:
        """Its family and weights do."""
        return True

    def build(self) -> nn.Module:
        """Build the architecture with random weights from torch's current generator.

        Raises:
            ModelLoadError: it can't be built on the current default device.
        """
        try:
            model = self._call_builder(None, **self._settings())
            if self._kind() == "detection" or self.name.removeprefix("quantized_").startswith(_BUILT_TWICE):
                # their builders fix norm layers, heads and input transforms only when handed weights
                model = self._call_builder(model.state_dict())
        except (RuntimeError, NotImplementedError) as error:
            device = torch.get_default_device()
            raise ModelLoadError(f"{self.name} can't be built on {device}: {first_line(error)}.") from error
        return model

    def load(self, request: WeightsRequest, seed: int) -> WeightedModel:
        """Build with the requested weights.

        Raises:
            UnknownName, ModelLoadError: unknown weights; weights that can't be had or don't fit.
        """
        if request.kind == "none":
            return self._random("as asked for", seed)
        if request.kind == "file":
            # torchvision's own files hold heads and key names that its builders drop or translate
            return WeightedModel(self.spec, *load_from_file(self.build(), request, self.spec, self._translated))
        asked = self._named(request.name) if request.kind == "named" else self
        try:
            return asked._pretrained()
        except WeightsUnavailable as error:
            words = f"{asked.member} can't be had: {error}"
            if request.kind == "auto":
                return self._random(words, seed)
            raise WeightsUnavailable(f"{words}. Weights auto or none go on with random ones.") from error

    def inputs(self, shape: tuple[int, ...] | None, seed: int, model: nn.Module | None = None) -> Inputs:
        """Example inputs of batch 1, at the weights' own size unless ``shape`` says otherwise.

        Raises:
            UsageError: a shape of the wrong rank.
        """
        layout = _LAYOUTS.get(self._kind(), "image")
        return random_inputs(shape or self._default_shape(model), layout, seed)

    def _kind(self) -> str:
        parts: list[str] = zoo.get_model_builder(self.name).__module__.split(".")
        return parts[-2]

    def _default_shape(self, model: nn.Module | None) -> tuple[int, ...]:
        kind = self._kind()
        if kind == "detection":
            if model is None:
                with torch.device("meta"):
                    model = self._call_builder(None, **self._settings())
            side = cast(Any, model).transform.min_size[-1]
            return (1, 3, side, side)
        if kind == "optical_flow":
            return (1, 3, *self.member.meta["min_size"])
        transforms = self.member.transforms()
        if kind == "segmentation":
            side = transforms.resize_size[0]
            return (1, 3, side, side)
        height, width = (*transforms.crop_size, *transforms.crop_size)[:2]
        return (1, 3, _VIDEO_FRAMES, height, width) if kind == "video" else (1, 3, height, width)

    def _settings(self) -> dict[str, Any]:
        """What the builder would take from the weights, for a build without them."""
        accepted = inspect.signature(zoo.get_model_builder(self.name)).parameters
        settings: dict[str, Any] = {"aux_loss": True} if "aux_loss" in accepted else {}
        if self.name.startswith("vit_"):
            settings["image_size"] = self.member.meta["min_size"][0]
        return settings

    def _call_builder(self, state: Mapping[str, torch.Tensor] | None, **settings: Any) -> nn.Module:
        builder = zoo.get_model_builder(self.name)
        if "weights_backbone" in inspect.signature(builder).parameters:
            settings["weights_backbone"] = None
        weights = None if state is None else WeightsInHand(self.member, state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # announcements about initialisation, quantisation and old options
            return cast(nn.Module, builder(weights=weights, **settings))

    def _random(self, reason: str, seed: int) -> WeightedModel:
        return WeightedModel(self.spec, self.build(), random_origin(reason, seed))

    def _named(self, name: str) -> TorchvisionModel:
        if name == "DEFAULT":
            return self
        asked = TorchvisionModel(self.name, find_weights(self.name, name))
        if "@" in self.spec and asked.member is not self.member:
            raise UsageError(f"the model {self.spec} and the weights {name} disagree; name the weights once.")
        return asked

    def _pretrained(self) -> WeightedModel:
        file = fetch(self.member.url)
        state = read_checkpoint(file.path).state
        try:
            model = self._translated(state)
        except ModelLoadError as error:
            raise ModelLoadError(f"{self.member} ({file.path}): {error}") from error
        categories = self.member.meta.get("categories")
        return WeightedModel(
            self.spec,
            model,
            WeightsOrigin("pretrained", f"{self.member}, {file.how}"),
            tuple(categories) if categories else None,
            self._transform(),
        )

    def _translated(self, state: Mapping[str, torch.Tensor]) -> nn.Module:
        try:
            return self._call_builder(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelLoadError(
                f"what they hold does not fit torchvision's {self.name}: {first_line(error)}."
            ) from error

    def _transform(self) -> Transform | None:
        """The preprocessing of one PIL image; none for clips and frame pairs."""
        if self._kind() in ("video", "optical_flow"):
            return None
        return cast(Transform, self.member.transforms())


SOURCE = ModelSource(
    form="a torchvision name",
    takes=lambda name: ":" not in name,
    names=torchvision_names,
    find=torchvision_model,
)
