"""The images of ``recover``: a folder to train on, and images to judge the result on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.cli.data import DataRequest, class_count
from convsurgeon.cli.screen import warn
from convsurgeon.recovery import ImageSettings

if TYPE_CHECKING:
    from convsurgeon.models.images import ImageBatches
    from convsurgeon.models.loading import LoadedModel

__all__ = ["Pictures"]


@dataclass(frozen=True)
class Pictures:
    """The images, as asked for; ``annotations`` is a file that says what is on them."""

    folder: Path
    labels: bool | None
    annotations: Path | None
    request: DataRequest
    settings: ImageSettings

    def split(self, loaded: LoadedModel) -> tuple[ImageBatches, ImageBatches | None]:
        """Images to train on, and images to judge the result on: --evaluate, or a part of --data held out."""
        from convsurgeon.recovery.images import split_files

        found = self._annotated(self._all(loaded))
        evaluation = self.request.evaluation(loaded, announced=True)
        if evaluation is not None:
            return found, evaluation
        train, held = split_files(found.files, self.settings)
        return found.among(train), found.among(held) if held else None

    def _all(self, loaded: LoadedModel) -> ImageBatches:
        everything = self.request.unlabelled(self.folder, loaded, limit=sys.maxsize, seed=self.settings.seed)
        if not self._are_classes(everything, loaded):
            return everything
        try:
            transform = self.request.transform(loaded, announced=True)
            return self.request.labelled(self.folder, transform, loaded)
        except UnknownName as error:
            raise UnknownName(f"{error} Or train without labels: --no-labels.") from error

    def _annotated(self, everything: ImageBatches) -> ImageBatches:
        """The images that the file knows, where there is one."""
        if self.annotations is None:
            return everything
        if not everything.listed:
            raise UsageError(
                "--annotations says where objects are, for networks that take a list of images, as detectors do; "
                "this one takes a batch. Leave it out."
            )
        from convsurgeon.models.coco import Annotations

        known = Annotations.read(self.annotations)
        files = [file for file in everything.files if file[0].name in known.rows]
        if not files:
            raise UsageError(
                f"none of the {len(everything)} images in '{self.folder}' is in {self.annotations}, e.g. "
                f"{everything.files[0][0].name}; expected the folder that its file names belong to."
            )
        if len(files) < len(everything):
            warn(f"{len(everything) - len(files)} of {len(everything)} images are not in {self.annotations}; left out.")
        return replace(everything.among(files), annotations=known)

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
