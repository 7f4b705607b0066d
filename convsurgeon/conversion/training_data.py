"""What a caller gives to train on, as a source of batches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from convsurgeon.base.errors import UsageError
from convsurgeon.models.images import ImageBatches, calibration_images
from convsurgeon.models.preprocessing import Preprocessing
from convsurgeon.recovery.batches import IterableSource, Source
from convsurgeon.recovery.engine import Engine
from convsurgeon.recovery.images import ImageSource
from convsurgeon.recovery.settings import ImageSettings, RecoverSettings
from convsurgeon.report.record import Report

__all__ = ["source_of"]

_EVERY_IMAGE = 1 << 62


def source_of(
    data: Iterable[Any] | Path | str,
    settings: RecoverSettings,
    images: ImageSettings,
    report: Report | None,
    engine: Engine,
) -> Source:
    """Batches of a folder's images, prepared as ``report`` says, or of what the caller's iterable yields.

    Raises:
        UsageError: a single tensor or dict; images that the network does not take.
        UnknownName: no such folder.
    """
    if isinstance(data, (str, Path)):
        shapes = report.plan.input_shapes if report else ()
        prepared = report.preparation.settings if report and report.preparation else Preprocessing()
        transform = prepared.transform(shapes[0] if len(shapes) == 1 else ())
        listed = len(shapes) == 1 and len(shapes[0]) == 3
        data = calibration_images(Path(data), transform, limit=_EVERY_IMAGE, seed=images.seed, listed=listed)
    if isinstance(data, ImageBatches):
        return ImageSource(data, images, engine.rank, engine.processes)
    if isinstance(data, (torch.Tensor, dict)):
        raise UsageError(f"data is a {type(data).__name__}; expected an iterable of batches, e.g. a list of tensors.")
    return IterableSource(data, settings.seed, engine.rank, engine.processes)
