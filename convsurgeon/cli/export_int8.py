"""What ``export --int8`` needs beside the network: images to measure ranges on and to judge on, and the original."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.cli.data import (
    DataRequest,
    prepared_before,
    preprocessing_options,
    taken_preprocessing,
)
from convsurgeon.cli.given_images import Unlabelled, warn_of_skipped
from convsurgeon.cli.options import together
from convsurgeon.cli.screen import progress_bar, warn, working
from convsurgeon.cli.subject import Subject, open_original
from convsurgeon.models.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from convsurgeon.deployment.exporting import Exported
    from convsurgeon.models.loading import LoadedModel

__all__ = ["Int8Request", "int8_options"]

# Ranges hardly change with more.
_MEASURED = 256
_JUDGED = 500
_SEED = 0


int8_options = together(
    click.option(
        "--calibrate",
        type=click.Path(path_type=Path),
        help="Folder of images, no labels needed; what is not measured on is judged on.",
    ),
    click.option(
        "--images",
        type=click.IntRange(min=1),
        help=f"Images to measure ranges on, at most.  [default: {_MEASURED}]",
    ),
    click.option(
        "--at-least",
        metavar="agreement=99%",
        help="Keep layers in float, those that lose most first, until the file has the float file's first class "
        "for that share of the images, as counted (the floor of convert is about the original, with a bound).",
    ),
    preprocessing_options,
)


@dataclass(frozen=True)
class Int8Request:
    """The options that belong to ``--int8``."""

    calibrate: Path
    images: int | None
    at_least: str | None
    preprocessing: Preprocessing

    @classmethod
    def of(cls, wanted: bool, subject: Subject, given: MutableMapping[str, Any]) -> Int8Request | None:
        """Taken out of the options given; None where a file in float is asked for.

        Raises:
            UsageError: no images, or options that belong to ``--int8`` without it.
        """
        options = {name: value for name, value in given.items() if value is not None}
        if not wanted:
            if options:
                names = ", ".join(f"--{name.replace('_', '-')}" for name in options)
                raise UsageError(f"{names} can't be used without --int8; pass --int8 too.")
            return None
        if (folder := given.pop("calibrate")) is None:
            raise UsageError("--int8 measures ranges on images, without labels; pass --calibrate DIR too.")
        base = prepared_before(subject.folder) if subject.is_folder else Preprocessing()
        images, at_least = given.pop("images"), given.pop("at_least")
        return cls(folder, images, at_least, taken_preprocessing(given, base))

    def export(self, subject: Subject, output: Path, options: Mapping[str, Any]) -> Exported:
        """Open the network and the images, and write the file."""
        from convsurgeon.deployment.exporting import Int8, export
        from convsurgeon.deployment.exporting.int8_file import refuse_int8
        from convsurgeon.deployment.exporting.request import require_writable

        refuse_int8(require_writable(output, None, options["force"]), self.at_least, lowered=options["lowered"])
        with working(f"loading {subject.name}"):
            network, loaded, original = _opened(subject)
        images = self._images(loaded)
        wanted = Int8(images, images.judging(), original, self.at_least)
        with progress_bar() as progress:
            done = export(network, loaded.example_inputs, output, int8=wanted, progress=progress, **options)
        warn_of_skipped(images.batches, images.others)
        return done

    def _images(self, loaded: LoadedModel) -> Unlabelled:
        limit = self.images or _MEASURED
        request = DataRequest(self.calibrate, preprocessing=self.preprocessing)
        found = request.unlabelled(self.calibrate, loaded, limit=limit + _JUDGED, seed=_SEED)
        return Unlabelled(found.part(0, limit), found.part(limit))


def _opened(subject: Subject) -> tuple[nn.Module, LoadedModel, nn.Module | None]:
    """The network, how its model was loaded, and the original with its weights, where that can be had."""
    from convsurgeon.conversion.saved import load

    if not subject.is_folder:
        loaded = subject.loaded()
        if loaded.weights.origin == "random":
            warn(f"{loaded.spec} has random weights, so that what is said of its agreement says nothing.")
        return loaded.model, loaded, None
    loaded, missing = _original(subject)
    if missing is not None:
        warn(f"not compared with the original, whose weights can't be had: {missing}.")
    return load(subject.folder, model=loaded.model), loaded, loaded.model if missing is None else None


def _original(subject: Subject) -> tuple[LoadedModel, str | None]:
    """The original with the weights that the conversion started from; or with random ones, and why."""
    from convsurgeon.cli.recover_original import recorded_weights
    from convsurgeon.report.folder import read_report

    report, missing = read_report(subject.folder), None
    try:
        weights, key = recorded_weights(report), report.weights.key
    except UnknownName:
        weights, key, missing = "none", None, f"'{report.weights.detail}' is not there; put it back"
    loaded = open_original(subject, weights=weights, weights_key=key)
    if missing is None and loaded.weights.origin == "random":
        missing = loaded.weights.detail
    return loaded, missing
