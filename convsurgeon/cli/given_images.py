"""The images of a run as the steps take them, and a word about those that can't be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.screen import warn
from convsurgeon.models.preprocessing import Preparation

if TYPE_CHECKING:
    from torch import Tensor

    from convsurgeon.conversion.data import Data
    from convsurgeon.models.images import ImageBatches

__all__ = ["GivenImages", "Unlabelled", "warn_of_skipped"]


@dataclass(frozen=True)
class Unlabelled:
    """The images of labelled batches, as often as asked; ``others`` of the same folder are judged on, too."""

    batches: ImageBatches
    others: ImageBatches

    def judging(self) -> Iterator[Tensor | list[Tensor]]:
        """Images that nothing is fitted on."""
        return (images for images, _ in self.others)

    def __iter__(self) -> Iterator[Tensor | list[Tensor]]:
        found = False
        for images, _ in self.batches:
            found = True
            yield images
        if not found:
            raise UsageError(
                f"none of the {len(self.batches)} images to calibrate on can be read, e.g. {self.batches.skipped[0]}; "
                "pass --calibrate a folder of files such as .jpg or .png."
            )


@dataclass(frozen=True)
class GivenImages:
    """What the folders hold, and how their images become inputs; None where nothing was given."""

    calibration: Unlabelled | None
    evaluation: ImageBatches | None
    preparation: Preparation | None

    @property
    def data(self) -> Data:
        """The images as the steps of a conversion take them."""
        from convsurgeon.conversion.data import Data

        judging = None if self.calibration is None else self.calibration.judging
        return Data(self.calibration, judging, self.evaluation, self.preparation)

    def warn_of_skipped(self) -> None:
        """Say what was left out, once all was read."""
        calibration = self.calibration
        warn_of_skipped(*((calibration.batches, calibration.others) if calibration else ()), self.evaluation)


def warn_of_skipped(*folders: ImageBatches | None) -> None:
    """Say how many files were left out because they could not be read."""
    for batches in folders:
        if batches is not None and batches.skipped:
            warn(
                f"{len(batches.skipped)} of {len(batches)} images can't be read and were left out, "
                f"e.g. {batches.skipped[0]}."
            )
