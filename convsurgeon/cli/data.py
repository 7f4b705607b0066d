"""Options that bring images, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.screen import warn

if TYPE_CHECKING:
    from torch import Tensor

    from convsurgeon.models.images import ImageBatches, Transform
    from convsurgeon.models.loading import LoadedModel
    from convsurgeon.survey.sites import Survey

__all__ = [
    "DataRequest",
    "Unlabelled",
    "calibration_options",
    "class_count",
    "evaluation_options",
    "preprocessing",
    "refine_option",
    "warn_of_skipped",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def calibration_options(command: Command) -> Command:
    """Images to calibrate on."""
    for option in (
        click.option(
            "--images",
            type=click.IntRange(min=1),
            help="Images to calibrate on, at most.  [default: what the layers' unknowns call for, 64 to 2048]",
        ),
        click.option(
            "--calibrate",
            type=click.Path(path_type=Path),
            help="Folder of images, no labels needed: measure damage and fit the new layers on them.",
        ),
    ):
        command = option(command)
    return command


def refine_option(command: Command) -> Command:
    """What may follow the closed-form fits."""
    return click.option(
        "--refine",
        default=0,
        type=click.IntRange(min=0),
        metavar="STEPS",
        help="With --calibrate: gradient steps at each layer after its closed-form fit.",
    )(command)


def evaluation_options(command: Command) -> Command:
    """Labelled images to evaluate on."""
    for option in (
        click.option(
            "--classes",
            type=click.Path(path_type=Path),
            help="Class names, one per line in output order, for the folders of --evaluate.",
        ),
        click.option(
            "--evaluate",
            type=click.Path(path_type=Path),
            help="Folder of labelled images, DIR/CLASS/IMAGE: report accuracy before and after.",
        ),
    ):
        command = option(command)
    return command


def warn_of_skipped(*folders: ImageBatches | None) -> None:
    """Say how many files were left out because they could not be read."""
    for batches in folders:
        if batches is not None and batches.skipped:
            warn(
                f"{len(batches.skipped)} of {len(batches)} images can't be read and were left out, "
                f"e.g. {batches.skipped[0]}."
            )


@dataclass(frozen=True)
class DataRequest:
    """The data options, as typed."""

    calibrate: Path | None
    images: int | None = None
    evaluate: Path | None = None
    classes: Path | None = None
    refine: int = 0

    def __post_init__(self) -> None:
        if self.refine and self.calibrate is None:
            raise UsageError("--refine takes its steps on calibration images; pass --calibrate DIR too.")
        if self.images and self.calibrate is None:
            raise UsageError("--images says how many images to calibrate on; pass --calibrate DIR too.")

    def with_classes_used(self) -> DataRequest:
        """The same, or an error where class names were given and no folder that they could name."""
        if self.classes is not None and self.evaluate is None:
            raise UsageError("--classes names the folders of --evaluate; pass --evaluate DIR too.")
        return self

    def both(self, loaded: LoadedModel, survey: Survey, seed: int) -> tuple[Unlabelled | None, ImageBatches | None]:
        """Calibration and labelled batches; what is unknown of the preprocessing is said once."""
        calibration = self.calibration(loaded, survey, seed)
        return calibration, self.evaluation(loaded, announced=self.calibrate is not None)

    def calibration(self, loaded: LoadedModel, survey: Survey, seed: int) -> Unlabelled | None:
        """Calibration batches; None without ``--calibrate``, or where the weights are random."""
        if self.calibrate is None:
            return None
        from convsurgeon.base.batch_axis import batch_of
        from convsurgeon.models.images import calibration_images
        from convsurgeon.transfer.image_count import images_needed

        limit = self.images or images_needed(survey, batch_of(loaded.example_inputs))
        found = calibration_images(self.calibrate, preprocessing(loaded), limit=limit, seed=seed)
        if loaded.weights.origin == "random":
            warn("--calibrate is ignored: random weights are not worth fitting.")
            return None
        return Unlabelled(found)

    def evaluation(self, loaded: LoadedModel, *, announced: bool) -> ImageBatches | None:
        """Labelled batches; None without ``--evaluate``; ``announced`` as for ``preprocessing``.

        Raises:
            UsageError: the model is no classifier.
            UnknownName: a folder that maps to no output.
        """
        if self.evaluate is None:
            return None
        from convsurgeon.models.images import labelled_images

        return labelled_images(
            self.evaluate,
            preprocessing(loaded, announced=announced),
            outputs=class_count(loaded),
            categories=loaded.categories,
            classes_file=self.classes,
        ).batches


@dataclass(frozen=True)
class Unlabelled:
    """The images of labelled batches, as often as asked."""

    batches: ImageBatches

    def __iter__(self) -> Iterator[Tensor]:
        found = False
        for images, _ in self.batches:
            found = True
            yield images
        if not found:
            raise UsageError(
                f"none of the {len(self.batches)} images to calibrate on can be read, e.g. {self.batches.skipped[0]}; "
                "pass --calibrate a folder of files such as .jpg or .png."
            )


def preprocessing(loaded: LoadedModel, *, announced: bool = False) -> Transform:
    """The weights' own preprocessing, or a plain one, which is said unless that was ``announced`` before."""
    from convsurgeon.models.images import plain_transform

    if loaded.transform is not None:
        return loaded.transform
    shapes = loaded.example_inputs.shapes()
    if not announced:
        warn(
            f"the preprocessing of {loaded.spec} is not known: images are resized, cropped to the input size and "
            "scaled to 0…1."
        )
    return plain_transform(shapes[0] if len(shapes) == 1 else ())


def class_count(loaded: LoadedModel) -> int:
    """The number of classes, from one forward."""
    import torch

    with torch.no_grad():
        output = loaded.example_inputs.call(loaded.model)
    if not isinstance(output, torch.Tensor) or output.dim() != 2:
        raise UsageError(f"--evaluate needs a classifier with one output [N, classes]; {loaded.spec} has another.")
    return int(output.shape[1])
