"""transformers: its convolutional networks and the convolutional parts of others, from small configurations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from compatibility.subjects import Subject, image

__all__ = ["subjects"]

_STAGES = {"hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 2, 1]}
_ENCODER = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "d_model": 64,
}
_TRUNK = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_DEEPER = _TRUNK | {"num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3]}
_SPEECH = _TRUNK | {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_BACKBONE = (
    "ResNetConfig",
    {"embedding_size": 32, **_STAGES, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
)


def _pixels(batch: int, side: int) -> dict[str, Any]:
    return {"pixel_values": image(batch, side)}


def _speech(batch: int, side: int) -> dict[str, Any]:
    return {"input_values": image(batch, side).flatten(1)[:, : side * 50]}


def _mel(bins: int, batch: int, side: int) -> dict[str, Any]:
    frames = image(batch, side).flatten(1)[:, : bins * side].reshape(batch, bins, side)
    return {"input_features": frames, "decoder_input_ids": torch.ones(batch, 2, dtype=torch.long)}


@dataclass(frozen=True)
class _Part:
    """A class, its configuration's class and settings; ``backbone`` is a configuration of its own inside it.

    ``varying``: the sizes of its outputs depend on the data.
    """

    model: str
    config: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    backbone: tuple[str, Mapping[str, Any]] | None = None
    inputs: Callable[[int, int], Any] = _pixels
    sides: tuple[int, ...] = (224, 128, 64)
    varying: bool = False

    def build(self) -> nn.Module:
        """The network with random weights."""
        library = importlib.import_module("transformers")
        settings = dict(self.settings)
        if self.backbone is not None:
            name, inner = self.backbone
            settings["backbone_config"] = getattr(library, name)(**inner)
        config = getattr(library, self.config)(**settings)
        return getattr(library, self.model)(config)


_PARTS = (
    _Part("ResNetForImageClassification", "ResNetConfig", {"embedding_size": 32, **_STAGES}),
    _Part("ResNetModel", "ResNetConfig", {"embedding_size": 32, **_STAGES, "layer_type": "basic"}),
    _Part("RegNetForImageClassification", "RegNetConfig", {"embedding_size": 32, **_STAGES, "groups_width": 16}),
    _Part("ConvNextForImageClassification", "ConvNextConfig", _STAGES),
    _Part("ConvNextV2ForImageClassification", "ConvNextV2Config", _STAGES),
    _Part("BitForImageClassification", "BitConfig", {"embedding_size": 32, **_STAGES, "num_groups": 4}),
    _Part("MobileNetV1ForImageClassification", "MobileNetV1Config", {"depth_multiplier": 0.5}),
    _Part("MobileNetV2ForImageClassification", "MobileNetV2Config", {"depth_multiplier": 0.5}),
    _Part("MobileNetV2ForSemanticSegmentation", "MobileNetV2Config", {"depth_multiplier": 0.5}),
    _Part("EfficientNetForImageClassification", "EfficientNetConfig", {"width_coefficient": 0.5, "hidden_dim": 640}),
    _Part("LevitForImageClassification", "LevitConfig", sides=(224,)),
    _Part("CvtForImageClassification", "CvtConfig"),
    _Part("PoolFormerForImageClassification", "PoolFormerConfig", {**_STAGES}),
    _Part("MobileViTForImageClassification", "MobileViTConfig"),
    _Part("MobileViTForSemanticSegmentation", "MobileViTConfig"),
    _Part("MobileViTV2ForImageClassification", "MobileViTV2Config"),
    _Part("EfficientFormerForImageClassification", "EfficientFormerConfig", sides=(224,)),
    _Part("SwiftFormerForImageClassification", "SwiftFormerConfig"),
    _Part("FocalNetForImageClassification", "FocalNetConfig", {"embed_dim": 32, "depths": [1, 1, 2, 1]}),
    _Part("VanModel", "VanConfig", _STAGES),
    _Part("HGNetV2ForImageClassification", "HGNetV2Config"),
    _Part("SegformerForSemanticSegmentation", "SegformerConfig"),
    _Part("PvtV2ForImageClassification", "PvtV2Config", {"depths": [1, 1, 1, 1]}),
    _Part("GLPNForDepthEstimation", "GLPNConfig"),
    _Part(
        "DPTForDepthEstimation",
        "DPTConfig",
        _TRUNK | {"num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3]},
        sides=(384,),
    ),
    _Part("DepthAnythingForDepthEstimation", "DepthAnythingConfig", sides=(224,)),
    _Part("UperNetForSemanticSegmentation", "UperNetConfig", {"hidden_size": 64}, _BACKBONE),
    _Part("DetrForObjectDetection", "DetrConfig", _ENCODER, _BACKBONE),
    _Part("ConditionalDetrForObjectDetection", "ConditionalDetrConfig", _ENCODER, _BACKBONE),
    _Part("DeformableDetrForObjectDetection", "DeformableDetrConfig", _ENCODER, _BACKBONE),
    _Part("RTDetrForObjectDetection", "RTDetrConfig", sides=(320, 224)),
    _Part("Mask2FormerForUniversalSegmentation", "Mask2FormerConfig", {}, _BACKBONE),
    _Part("MaskFormerForInstanceSegmentation", "MaskFormerConfig", {}, _BACKBONE),
    _Part("TimmBackbone", "TimmBackboneConfig", {"backbone": "resnet18", "use_pretrained_backbone": False}),
    _Part("Wav2Vec2Model", "Wav2Vec2Config", _SPEECH, inputs=_speech),
    _Part("HubertModel", "HubertConfig", _SPEECH, inputs=_speech),
    _Part("Data2VecAudioModel", "Data2VecAudioConfig", _SPEECH, inputs=_speech),
    _Part("WhisperModel", "WhisperConfig", _ENCODER, inputs=partial(_mel, 80), sides=(3000,)),
    _Part("SuperPointForKeypointDetection", "SuperPointConfig", varying=True),
)


def subjects() -> tuple[Subject, ...]:
    """One subject per class that the installed version has."""
    library = importlib.import_module("transformers")
    return tuple(
        Subject("transformers", _name(part), part.build, part.inputs, sides=part.sides, varying=part.varying)
        for part in _PARTS
        if hasattr(library, part.model)
    )


def _name(part: _Part) -> str:
    return f"{part.model}-basic" if "layer_type" in part.settings else part.model
