"""The options of ``recover`` that are settings, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convsurgeon.cli.setting_options import setting_options, settings_given
from convsurgeon.recovery import ImageSettings, RecoverSettings

__all__ = ["given_settings", "image_options", "training_options"]

_TRAINING = {
    "epochs": "Passes over the data.",
    "steps": "Optimiser steps, instead of epochs.",
    "lr_new": "Peak learning rate of the replaced layers.",
    "lr_old": "Peak learning rate of all other layers; 0 leaves them alone.",
    "optimizer": "The optimiser.",
    "weight_decay": "Weight decay, on weights but not on biases and norms.",
    "warmup": "Share of the steps in which the rates rise.",
    "clip": "Bound on the gradient's norm.",
    "outputs": "What the outputs are; auto takes one tensor [N, K] for logits.",
    "temperature": "Temperature at which logits are compared.",
    "output_weight": "Weight of the distance of the outputs.",
    "feature_weight": "Weight of the relative error at the replaced layers.",
    "label_weight": "Weight of the cross-entropy, where class folders give labels.",
    "norms": "Batch norms follow the batches, keep their statistics, or first the one and then the other.",
    "settle_share": "Share of the steps in which settling batch norms follow the batches.",
    "precision": "auto: half precision where a GPU has it, else fp32.",
    "evaluate_every": "Steps between evaluations.",
    "checkpoint_every": "Steps between checkpoints.",
    "keep": "Which weights the result has.",
    "seed": "Seed of order, augmentation and held-out images.",
}
_IMAGES = {
    "batch": "Images of one step, over all processes.",
    "augment": "Random parts of the images, mirrored or not.",
    "smallest_crop": "Least share of an image's area in a random part.",
    "held_out": "Share of --data kept back to judge the result on; 0 with --evaluate.",
    "workers": "Processes that read images.",
}

training_options = setting_options(RecoverSettings, _TRAINING)
image_options = setting_options(ImageSettings, _IMAGES)


def given_settings(given: Mapping[str, Any]) -> tuple[RecoverSettings, ImageSettings]:
    """Both records with the options that were given; images are drawn with the training's seed.

    Raises:
        UsageError: a value out of its bounds.
    """
    settings, images = settings_given(RecoverSettings, _TRAINING, given), settings_given(ImageSettings, _IMAGES, given)
    return settings, images.model_copy(update={"seed": settings.seed})
