"""segmentation_models_pytorch: every decoder on encoders of different kinds."""

from __future__ import annotations

import importlib
from functools import partial

from torch import nn

from compatibility.subjects import Subject, sides_from

__all__ = ["subjects"]

LIBRARY = "segmentation_models_pytorch"
_ENCODERS = ("resnet18", "mobilenet_v2", "efficientnet-b0")
_TRANSFORMER_ENCODER = "mit_b0"
_TRANSFORMER_DECODERS = ("unet", "fpn", "manet", "pspnet", "upernet", "segformer")
_DPT_ENCODER = "tu-vit_tiny_patch16_224"  # this decoder takes vision transformers only


def subjects() -> tuple[Subject, ...]:
    """Every architecture that the package registers."""
    decoders = importlib.import_module(LIBRARY).MODEL_ARCHITECTURES_MAPPING
    pairs = [(decoder, encoder) for decoder in decoders if decoder != "dpt" for encoder in _ENCODERS]
    pairs += [(decoder, _TRANSFORMER_ENCODER) for decoder in _TRANSFORMER_DECODERS]
    pairs += [("dpt", _DPT_ENCODER)]
    return tuple(_subject(decoder, encoder) for decoder, encoder in sorted(pairs))


def _subject(decoder: str, encoder: str) -> Subject:
    sides = (224,) if encoder == _DPT_ENCODER else sides_from(256)
    return Subject(LIBRARY, f"{decoder}-{encoder}", partial(_build, decoder, encoder), sides=sides)


def _build(decoder: str, encoder: str) -> nn.Module:
    return importlib.import_module(LIBRARY).create_model(decoder, encoder, encoder_weights=None, classes=4)
