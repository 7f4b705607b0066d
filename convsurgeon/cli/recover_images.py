"""The images of ``recover``: a folder to train on, and images to judge the result on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.cli.data import DataRequest, class_count
from convsurgeon.recovery import ImageSettings

if TYPE_CHECKING:
    from convsurgeon.models.images import ImageBatches
    from convsurgeon.models.loading import LoadedModel

__all__ = ["Pictures"]


@dataclass(frozen=True)
class Pictures:
    """The images, as asked for."""

    folder: Path
    labels: bool | None
    request: DataRequest
    settings: ImageSettings

    def split(self, loaded: LoadedModel) -> tuple[ImageBatches, ImageBatches | None]:
        """Images to train on, and images to judge the result on: --evaluate, or a part of --data held out."""
        from convsurgeon.models.images import ImageBatches
        from convsurgeon.recovery.images import split_files

        found = self._all(loaded)
        evaluation = self.request.evaluation(loaded, announced=True)
        if evaluation is not None:
            return found, evaluation
        train, held = split_files(found.files, self.settings)
        return ImageBatches(train, found.transform), ImageBatches(held, found.transform) if held else None

    def _all(self, loaded: LoadedModel) -> ImageBatches:
        from convsurgeon.models.images import calibration_images

        transform = self.request.transform(loaded)
        everything = calibration_images(self.folder, transform, limit=sys.maxsize, seed=self.settings.seed)
        if not self._are_classes(everything, loaded):
            return everything
        try:
            return self.request.labelled(self.folder, transform, loaded)
        except UnknownName as error:
            raise UnknownName(f"{error} Or train without labels: --no-labels.") from error

    def _are_classes(self, everything: ImageBatches, loaded: LoadedModel) -> bool:
        if self.labels is not None:
            return self.labels
        if all(path.parent == self.folder for path, _ in everything.files):
            return False
        try:
            class_count(loaded)
        except UsageError:
            return False
        return True
