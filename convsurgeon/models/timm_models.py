"""timm's models: ``timm:NAME`` or ``timm:NAME.TAG``. timm is imported when one is asked for, not before."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from convsurgeon.base.errors import (
    ModelLoadError,
    UnknownName,
    UsageError,
    WeightsUnavailable,
    did_you_mean,
    first_line,
)
from convsurgeon.base.inputs import Inputs
from convsurgeon.models import downloads
from convsurgeon.models.checkpoints import read_checkpoint
from convsurgeon.models.downloads import OFFLINE_VARIABLE, WeightsFile, fetch, is_offline, open_url
from convsurgeon.models.from_file import load_from_file
from convsurgeon.models.input_sizes import random_inputs
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.source import ModelSource
from convsurgeon.models.timm_names import PREFIX
from convsurgeon.models.weights import (
    Transform,
    WeightedModel,
    WeightsRequest,
    random_origin,
)

__all__ = ["SOURCE", "TimmModel", "timm_model"]

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def timm_model(spec: str) -> TimmModel:
    """Read ``timm:resnet50`` or ``timm:resnet50.a1_in1k``.

    Raises:
        UsageError: timm is not installed.
        UnknownName: no such model or tag; with near matches.
    """
    name = spec.removeprefix(PREFIX).strip()
    timm = _timm()
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if not timm.is_model(architecture):
        raise UnknownName(f"timm has no model {architecture!r}.{did_you_mean(architecture, known)}")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        tags = ", ".join(tagged) or "none"
        raise UnknownName(f"timm has no weights {tag!r} for {architecture}. Known: {tags}.")
    return TimmModel(name)


@dataclass(frozen=True)
class TimmModel:
    """A model of timm's; a tag in the name picks its weights and, with them, its classes and input size."""

    name: str

    @property
    def spec(self) -> str:
        """``timm:NAME``."""
        return PREFIX + self.name

    @property
    def states_inputs(self) -> bool:
        """Its configuration does."""
        return True

    def build(self) -> nn.Module:
        """Build the architecture with random weights from torch's current generator.

        Raises:
            ModelLoadError: it can't be built on the current default device.
        """
        return self._create(pretrained=False)

    def load(self, request: WeightsRequest, seed: int) -> WeightedModel:
        """Build with the requested weights.

        Raises:
            UsageError, ModelLoadError: weights by another name; weights that can't be had or don't fit.
        """
        if request.kind == "none":
            return self._random("as asked for", seed)
        if request.kind == "file":
            return WeightedModel(self.spec, *load_from_file(self.build(), request, self.spec, self._with_state))
        if request.kind == "named" and request.name != "DEFAULT":
            architecture = self.name.partition(".")[0]
            raise UsageError(
                f"{self.spec} has no weights {request.name!r}, and no such file exists; timm's weights are "
                f"part of the model's name: {PREFIX}{architecture}.TAG. "
                "Expected auto, DEFAULT, none or a file."
            )
        try:
            file = self._weights_file()
        except WeightsUnavailable as error:
            words = f"timm's weights for {self.name} can't be had: {error}"
            if request.kind == "auto":
                return self._random(words, seed)
            raise WeightsUnavailable(f"{words}. Weights auto or none go on with random ones.") from error
        model = self._with_state(read_checkpoint(file.path).state)
        origin = WeightsOrigin("pretrained", f"timm {self._tagged_name()}, {file.how}")
        return WeightedModel(self.spec, model, origin, self._categories(), _transform(model))

    def inputs(self, shape: tuple[int, ...] | None, seed: int, model: nn.Module | None = None) -> Inputs:
        """Example inputs of batch 1, at timm's configured size unless ``shape`` says otherwise.

        Raises:
            UsageError: a shape of the wrong rank.
        """
        config = self._config()
        return random_inputs(shape or (1, *(config.input_size if config else (3, 224, 224))), "image", seed)

    def _create(self, **options: Any) -> nn.Module:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return cast(nn.Module, _timm().create_model(self.name, **options))
        except Exception as error:  # a thousand models, each with its own way to fail
            raise ModelLoadError(f"timm can't build {self.name}: {first_line(error)}.") from error

    def _with_state(self, state: Mapping[str, torch.Tensor]) -> nn.Module:
        """Let timm load a state dict as its own pretrained one: it renames keys and drops extra classes."""
        source = {"state_dict": dict(state), "custom_load": False}
        model = cast(Any, self._create(pretrained=True, pretrained_cfg_overlay=source))
        # otherwise the model carries its weights twice, in every copy of it
        for config in (model.pretrained_cfg, model.default_cfg):
            config.pop("state_dict", None)
        return cast(nn.Module, model)

    def _random(self, reason: str, seed: int) -> WeightedModel:
        return WeightedModel(self.spec, self.build(), random_origin(reason, seed))

    def _config(self) -> Any:
        return _timm().get_pretrained_cfg(self.name)

    def _tagged_name(self) -> str:
        config = self._config()
        architecture = self.name.partition(".")[0]
        return f"{architecture}.{config.tag}" if config.tag else self.name

    def _categories(self) -> tuple[str, ...] | None:
        names = self._config().label_names
        return tuple(names) if names else None

    def _weights_file(self) -> WeightsFile:
        config = self._config()
        if config is None or not config.has_weights or (config.custom_load and not config.hf_hub_id):
            raise WeightsUnavailable(f"timm publishes no state dict for {self.name}")
        if config.file:
            return WeightsFile(Path(config.file), "from the file that timm is configured with")
        if not config.hf_hub_id:
            return fetch(config.url)
        repository, _, revision = config.hf_hub_id.partition("@")
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES
        return _hub_file(repository, names, revision or None)


def _hub_file(repository: str, names: tuple[str, ...], revision: str | None) -> WeightsFile:
    """The first of ``names`` in the Hugging Face cache, or downloaded into it."""
    hub = importlib.import_module("huggingface_hub")
    for name in names:
        cached = hub.try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return WeightsFile(Path(cached), "from the cache")
    if is_offline() or hub.constants.HF_HUB_OFFLINE:
        raise WeightsUnavailable(f"{repository} is not in the cache and {OFFLINE_VARIABLE} or HF_HUB_OFFLINE is set")
    reasons = []
    for name in names:
        try:
            # asked first because the hub's own client waits for a dead name server as long as the system does
            with open_url(hub.hf_hub_url(repository, name, revision=revision), method="HEAD"):
                pass
        except WeightsUnavailable as error:
            reasons.append(str(error))
            # Not found: the next name may be.
            if getattr(error.__cause__, "code", None) != 404:
                break
            continue
        return _hub_download(hub, repository, name, revision)
    raise WeightsUnavailable(reasons[0])


def _hub_download(hub: Any, repository: str, name: str, revision: str | None) -> WeightsFile:
    try:
        path = hub.hf_hub_download(repository, name, revision=revision, etag_timeout=downloads.OPEN_TIMEOUT_S)
    except Exception as error:  # the hub's errors have no common root
        raise WeightsUnavailable(f"the download of {repository} broke off: {first_line(error)}") from error
    return WeightsFile(Path(path), "downloaded from the Hugging Face hub")


def _transform(model: nn.Module) -> Transform | None:
    data = importlib.import_module("timm.data")
    return cast(Transform, data.create_transform(**data.resolve_model_data_config(model), is_training=False))


def _timm() -> Any:
    try:
        return importlib.import_module("timm.models")
    except ModuleNotFoundError as error:
        if error.name not in ("timm", "timm.models"):
            raise
        raise UsageError(
            'timm is not installed; models named timm:… need it: pip install "convsurgeon[timm]".'
        ) from error


SOURCE = ModelSource(
    form="timm:NAME",
    takes=lambda name: name.startswith(PREFIX),
    names=lambda: [PREFIX + name for name in _timm().list_models()],
    find=timm_model,
)
