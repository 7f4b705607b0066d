"""The options of ``recover`` that are settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convsurgeon.cli.setting_options import setting_options, settings_given
from convsurgeon.recovery import ImageSettings, RecoverSettings

__all__ = ["given_settings", "image_options", "training_options"]

_TRAINING = tuple(RecoverSettings.model_fields)
# Images are drawn with the training's seed.
_IMAGES = tuple(name for name in ImageSettings.model_fields if name not in ("held_out_limit", "seed"))

training_options = setting_options(RecoverSettings(), _TRAINING)
image_options = setting_options(ImageSettings(), _IMAGES)


def given_settings(given: Mapping[str, Any]) -> tuple[RecoverSettings, ImageSettings]:
    """Both records with the options that were given.

    Raises:
        UsageError: a value out of its bounds.
    """
    settings, images = settings_given(RecoverSettings, _TRAINING, given), settings_given(ImageSettings, _IMAGES, given)
    return settings, images.model_copy(update={"seed": settings.seed})
