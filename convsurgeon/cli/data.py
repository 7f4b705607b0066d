"""Options that bring images, and what becomes of them."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.given_images import GivenImages, Unlabelled
from convsurgeon.cli.options import together
from convsurgeon.cli.screen import tell, warn
from convsurgeon.cli.setting_options import setting_options, settings_given
from convsurgeon.models.preprocessing import Preparation, Preprocessing

if TYPE_CHECKING:
    from convsurgeon.models.images import ImageBatches
    from convsurgeon.models.loading import LoadedModel
    from convsurgeon.models.weights import Transform
    from convsurgeon.planning.recipe import Recipe
    from convsurgeon.survey.sites import Survey

__all__ = [
    "DataRequest",
    "calibration_options",
    "class_count",
    "evaluation_options",
    "prepared_before",
    "preprocessing_options",
    "refine_option",
    "taken_preprocessing",
]

# Enough to tell shares of 2 % apart; more would take longer than they tell.
_JUDGED = 500
# A floor's fewest inputs show it only where all of them agree, which a smaller network's never do.
_ROOM = 4


calibration_options = together(
    click.option(
        "--calibrate",
        type=click.Path(path_type=Path),
        help="Folder of images, no labels needed: measure damage and fit the new layers on them.",
    ),
    click.option(
        "--images",
        type=click.IntRange(min=1),
        help="Images to calibrate on, at most.  [default: what the layers' unknowns call for, 64 to 2048]",
    ),
)
refine_option = click.option(
    "--refine",
    default=0,
    type=click.IntRange(min=0),
    metavar="STEPS",
    help="With --calibrate: gradient steps at each layer after its closed-form fit.",
)
evaluation_options = together(
    click.option(
        "--evaluate",
        type=click.Path(path_type=Path),
        help="Folder of labelled images, DIR/CLASS/IMAGE: report accuracy before and after.",
    ),
    click.option(
        "--classes",
        type=click.Path(path_type=Path),
        help="Class names, one per line in output order, for the folders of --evaluate.",
    ),
)
preprocessing_options = setting_options(Preprocessing(), Preprocessing.model_fields)


def taken_preprocessing(given: MutableMapping[str, Any], base: Preprocessing) -> Preprocessing:
    """The options taken out of those given, in place of ``base``'s values.

    Raises:
        UsageError: a value that is none of its kind.
    """
    names = list(Preprocessing.model_fields)
    said = {name: given.pop(name, None) for name in names}
    return settings_given(
        Preprocessing, names, {name: getattr(base, name) if said[name] is None else said[name] for name in names}
    )


def prepared_before(folder: Path) -> Preprocessing:
    """What was said when the conversion in a folder was made."""
    from convsurgeon.report.folder import read_report

    preparation = read_report(folder).preparation
    return Preprocessing() if preparation is None else preparation.settings


@dataclass(frozen=True)
class DataRequest:
    """The data options, as typed."""

    calibrate: Path | None
    images: int | None = None
    evaluate: Path | None = None
    classes: Path | None = None
    refine: int = 0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        if self.refine and self.calibrate is None:
            raise UsageError("--refine takes its steps on calibration images; pass --calibrate DIR too.")
        if self.images and self.calibrate is None:
            raise UsageError("--images says how many images to calibrate on; pass --calibrate DIR too.")

    def preparation(self, loaded: LoadedModel) -> Preparation:
        """How images become the model's inputs: as was said, or as the weights or the factory say, or by a guess.

        Raises:
            UsageError: a part was said of a preprocessing whose other parts are not known.
        """
        from convsurgeon.models.loading import is_factory

        if given := self.preprocessing.given:
            known = None if loaded.transform is None else Preprocessing.of(loaded.transform)
            if known is not None:
                changed = {name: getattr(self.preprocessing, name) for name in given}
                return Preparation(source="given", settings=known.model_copy(update=changed))
            if loaded.transform is not None and not {"mean", "std"} <= given.keys():
                raise UsageError(
                    f"{loaded.spec} brings its own preprocessing, which {', '.join(f'--{name}' for name in given)} "
                    "would replace as a whole; pass --mean and --std too (0 and 1 for none), or none of these options."
                )
            return Preparation(source="given", settings=self.preprocessing)
        if loaded.transform is None:
            return Preparation(source="guessed")
        return Preparation(source="factory" if is_factory(loaded.spec) else "weights")

    def transform(self, loaded: LoadedModel, *, announced: bool = False) -> Transform:
        """The preparation as code; warns of what is doubtful about it, unless it was ``announced`` before.

        Raises:
            UsageError: the model is called with something that images can't be made into.
        """
        from convsurgeon.models.image_inputs import image_shape, require_floats

        preparation, shape = self.preparation(loaded), image_shape(loaded.example_inputs)
        if loaded.transform is not None and preparation.source != "given":
            return loaded.transform
        require_floats(loaded.example_inputs)
        made = preparation.settings.transform(shape)
        if not announced and (doubt := preparation.doubt()) is not None:
            warn(f"{doubt}.")
        return made

    def with_classes_used(self) -> DataRequest:
        """The same, or an error where class names were given and no folder that they could name."""
        if self.classes is not None and self.evaluate is None:
            raise UsageError("--classes names the folders of --evaluate; pass --evaluate DIR too.")
        return self

    def read(self, loaded: LoadedModel, survey: Survey, recipe: Recipe) -> GivenImages:
        """Calibration and labelled batches, and how their images are prepared; a guess is said once."""
        calibration = self.calibration(loaded, survey, recipe)
        evaluation = self.evaluation(loaded, announced=self.calibrate is not None)
        unused = calibration is None and evaluation is None
        return GivenImages(calibration, evaluation, None if unused else self.preparation(loaded))

    def calibration(self, loaded: LoadedModel, survey: Survey, recipe: Recipe) -> Unlabelled | None:
        """Calibration batches; None without ``--calibrate``, or where the weights are random."""
        if self.calibrate is None:
            return None
        from convsurgeon.base.batch_axis import batch_of
        from convsurgeon.transfer.image_count import images_needed

        limit = self.images or images_needed(survey, batch_of(loaded.example_inputs))
        judged = max([_JUDGED, *(_ROOM * floor.fewest for floor in recipe.at_least)])
        found = self.unlabelled(self.calibrate, loaded, limit=limit + judged, seed=recipe.seed)
        if loaded.weights.origin == "random":
            warn("--calibrate is ignored: random weights are not worth fitting.")
            return None
        return Unlabelled(found.part(0, limit), found.part(limit))

    def evaluation(self, loaded: LoadedModel, *, announced: bool) -> ImageBatches | None:
        """Labelled batches; None without ``--evaluate``; ``announced`` as for ``transform``.

        Raises:
            UsageError: the model is no classifier.
            UnknownName: a folder that maps to no output.
        """
        if self.evaluate is None:
            return None
        return self.labelled(self.evaluate, self.transform(loaded, announced=announced), loaded)

    def unlabelled(self, folder: Path, loaded: LoadedModel, *, limit: int, seed: int) -> ImageBatches:
        """So many images of a folder, as a batch or as the list that detectors take."""
        from convsurgeon.base.batch_axis import image_list
        from convsurgeon.models.images import calibration_images

        listed = image_list(loaded.example_inputs) is not None
        return calibration_images(folder, self.transform(loaded), limit=limit, seed=seed, listed=listed)

    def labelled(self, folder: Path, transform: Transform, loaded: LoadedModel) -> ImageBatches:
        """A folder with a subfolder a class; which is which output is said where it was assumed.

        Raises:
            UsageError: the model is no classifier.
            UnknownName: a folder that maps to no output.
        """
        from convsurgeon.models.images import labelled_images

        found = labelled_images(
            folder,
            transform,
            outputs=class_count(loaded),
            categories=loaded.categories,
            classes_file=self.classes,
        )
        if found.assumed is not None:
            tell(f"{found.assumed}; where training had another, pass --classes FILE")
        return found.batches


def class_count(loaded: LoadedModel) -> int:
    """The number of classes, from one forward."""
    import torch

    with torch.no_grad():
        output = loaded.example_inputs.call(loaded.model)
    if not isinstance(output, torch.Tensor) or output.dim() != 2:
        raise UsageError(f"--evaluate needs a classifier with one output [N, classes]; {loaded.spec} has another.")
    return int(output.shape[1])
