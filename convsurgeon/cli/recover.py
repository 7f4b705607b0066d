"""``recover``: training a converted model back towards its original."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from convsurgeon.cli.data import DataRequest, class_count, evaluation_options, preprocessing, warn_of_skipped
from convsurgeon.cli.options import json_option
from convsurgeon.cli.screen import is_main_process, warn
from convsurgeon.cli.subject import rebuilt_by
from convsurgeon.cli.training import training_display
from convsurgeon.errors import UnknownName, UsageError
from convsurgeon.recovery import ImageSettings, RecoverSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

    from convsurgeon.images import ImageBatches
    from convsurgeon.models import LoadedModel
    from convsurgeon.recovery import History
    from convsurgeon.recovery.extra import Extra
    from convsurgeon.report import Report

__all__ = ["recover_command"]

Command = Callable[..., Any]

INTERRUPTED = 130

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


def _setting_options(record: type[BaseModel], words: dict[str, str]) -> Callable[[Command], Command]:
    """One option for each named field of a settings record, which stays the only source of types and defaults."""

    def add(command: Command) -> Command:
        for name in reversed(words):
            field = record.model_fields[name]
            choices = [str(c) for c in get_args(field.annotation)] if get_origin(field.annotation) is Literal else None
            plain = next((t for t in (field.annotation, *get_args(field.annotation)) if t in (int, float)), str)
            command = click.option(
                f"--{name.replace('_', '-')}",
                name,
                type=click.Choice(choices) if choices else plain,
                help=words[name] if field.default is None else f"{words[name]}  [default: {field.default}]",
            )(command)
        return command

    return add


@click.command("recover")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of images to train on.")
@click.option("--labels/--no-labels", default=None, help="Read subfolders as classes.  [default: where there are any]")
@evaluation_options
@_setting_options(RecoverSettings, _TRAINING)
@_setting_options(ImageSettings, _IMAGES)
@click.option(
    "--original-weights",
    "--weights",
    "weights",
    metavar="auto|DEFAULT|FILE",
    help="The original's trained weights.  [default: those that DIR was converted from]",
)
@click.option(
    "--device", default="auto", show_default=True, help="Device to train on; auto takes a GPU if there is one."
)
@click.option("--trust-factory", is_flag=True, help="Run the factory that DIR names.")
@click.option(
    "--checkpoints", type=click.Path(path_type=Path), help="Folder of checkpoints.  [default: OUTPUT.training]"
)
@click.option(
    "--learn-groups",
    is_flag=True,
    help="Train the gates of a conversion with --method dgconv (open gates) until --target is met; then harden them.",
)
@click.option(
    "--target",
    "budget",
    multiple=True,
    metavar="macs=50%",
    help="With --learn-groups: keep at most this of the original: macs=50%, macs=2.0G, params=12M. Repeatable.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint; the other options as before.")
@json_option
@click.option("--force", is_flag=True, help="Replace the output folder and the checkpoints if they exist.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Output folder.  [default: DIR-recovered]"
)
def recover_command(
    folder: Path,
    data: Path,
    labels: bool | None,
    evaluate: Path | None,
    classes: Path | None,
    weights: str | None,
    device: str,
    trust_factory: bool,
    checkpoints: Path | None,
    learn_groups: bool,
    budget: tuple[str, ...],
    resume: bool,
    as_json: bool,
    force: bool,
    target: Path | None,
    **given: Any,
) -> int:
    """Train the converted model in DIR back towards its original, by distillation on the images of --data.

    No labels are needed. The original is built again with its weights and shows what its outputs and the features at
    the replaced layers should be. Interrupt at any time; the same command with --resume goes on and ends the same.

    On several GPUs or machines: accelerate launch -m convsurgeon recover DIR --data DIR (pip install
    'convsurgeon[train]').
    """
    from convsurgeon.recovery.interruption import Interrupted

    settings, images = _settings(RecoverSettings, _TRAINING, given), _settings(ImageSettings, _IMAGES, given)
    images = images.model_copy(update={"seed": settings.seed})
    run = _Run(folder, target or folder.with_name(f"{folder.name}-recovered"), force, resume, checkpoints)
    learned = _learned_groups(folder, learn_groups, budget)
    run.refuse_existing()
    original = _original(folder, weights, trust_factory, settings.seed)
    pictures = _Pictures(data, labels, DataRequest(None, 0, evaluate, classes), images)
    try:
        run.train(original, pictures, settings, device, learned, as_json)
    except Interrupted as stop:
        if is_main_process():
            again = shlex.join(["convsurgeon", *(a for a in sys.argv[1:] if a != "--force")])
            click.echo(f"{stop}\ngo on with: {again}{'' if resume else ' --resume'}", err=True)
        return INTERRUPTED
    return 0


def _settings(record: type[Any], words: dict[str, str], given: dict[str, Any]) -> Any:
    """The record with the options that were given.

    Raises:
        UsageError: a value out of its bounds.
    """
    from pydantic import ValidationError

    try:
        return record(**{name: given[name] for name in words if given[name] is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}.") from error


def _learned_groups(folder: Path, learn_groups: bool, budget: tuple[str, ...]) -> tuple[Extra, ...]:
    """What learns along, refused before any work is done."""
    from convsurgeon.learned_groups.request import requested
    from convsurgeon.store import read_saved_plan

    return requested(read_saved_plan(folder), learn_groups, budget)


def _original(folder: Path, weights: str | None, trust_factory: bool, seed: int) -> LoadedModel:
    """The network that DIR was converted from, with its weights and example inputs of the planned shapes.

    Raises:
        UsageError: it was the caller's own module, an untrusted factory's, or its weights are random.
    """
    from dataclasses import replace

    from convsurgeon.models import load_model
    from convsurgeon.store import read_report

    report = read_report(folder)
    otherwise = f"recover it in Python: convsurgeon.recover(original, '{folder}', data)."
    name = rebuilt_by(folder, trust_factory, otherwise)
    loaded = load_model(name, weights=weights or _recorded_weights(report), seed=seed)
    if loaded.weights.origin == "random":
        raise UsageError(
            f"the original {name} has random weights ({loaded.weights.detail.removeprefix('random: ')}), so there is "
            "nothing to recover towards. Pass its trained weights: --weights FILE or --weights DEFAULT."
        )
    return replace(loaded, example_inputs=loaded.example_inputs.reshaped(report.input_shapes, seed))


def _recorded_weights(report: Report) -> str:
    """The weights that the conversion started from; a file must still be there."""
    if report.weights.origin != "file":
        return "auto"
    if not Path(report.weights.detail).is_file():
        raise UnknownName(
            f"the original's weights came from {report.weights.detail}, which is not there; pass --weights FILE."
        )
    return report.weights.detail


@dataclass(frozen=True)
class _Pictures:
    """The images, as asked for."""

    folder: Path
    labels: bool | None
    request: DataRequest
    settings: ImageSettings

    def split(self, loaded: LoadedModel) -> tuple[ImageBatches, ImageBatches | None]:
        """Images to train on, and images to judge the result on: --evaluate, or a part of --data held out."""
        from convsurgeon.images import ImageBatches
        from convsurgeon.recovery.images import split_files

        found = self._all(loaded)
        evaluation = self.request.evaluation(loaded)
        if evaluation is not None:
            return found, evaluation
        train, held = split_files(found.files, self.settings)
        return ImageBatches(train, found.transform), ImageBatches(held, found.transform) if held else None

    def _all(self, loaded: LoadedModel) -> ImageBatches:
        from convsurgeon.images import calibration_images, labelled_images

        transform = preprocessing(loaded)
        everything = calibration_images(self.folder, transform, limit=sys.maxsize, seed=self.settings.seed)
        if not self._are_classes(everything, loaded):
            return everything
        try:
            return labelled_images(
                self.folder,
                transform,
                outputs=class_count(loaded),
                categories=loaded.categories,
                classes_file=self.request.classes,
            ).batches
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


@dataclass(frozen=True)
class _Run:
    """Where a run comes from and where it goes."""

    folder: Path
    target: Path
    force: bool
    resume: bool
    checkpoints: Path | None

    @property
    def training_folder(self) -> Path:
        return self.checkpoints or self.target.with_name(f"{self.target.name}.training")

    def refuse_existing(self) -> None:
        """Before any work is done; --force starts anew."""
        from convsurgeon.recovery.checkpoint import Checkpoints
        from convsurgeon.store import refuse_existing

        refuse_existing(self.target, self.force)
        if not self.resume:
            found = Checkpoints(self.training_folder)
            found.remove() if self.force else found.refuse_existing()

    def train(
        self,
        original: LoadedModel,
        pictures: _Pictures,
        settings: RecoverSettings,
        device: str,
        extras: tuple[Extra, ...],
        as_json: bool,
    ) -> None:
        """Train, save, tell."""
        from convsurgeon.recovery.verb import open_conversion, recover

        data, evaluation = pictures.split(original)
        conversion = open_conversion(self.folder, original.model)
        with training_display() as progress:
            done = recover(
                original.model,
                conversion,
                data,
                evaluation=evaluation,
                settings=settings,
                images=pictures.settings,
                extras=extras,
                checkpoints=self.training_folder,
                resume=self.resume,
                device=device,
                progress=progress,
            )
        if not is_main_process() or done.conversion is None:
            return
        done.save(self.target, force=self.force)
        warn_of_skipped(evaluation)
        self._tell(done.conversion.report, done.history, as_json)

    def _tell(self, report: Report, history: History, as_json: bool) -> None:
        if history.skipped:
            warn(
                f"{history.skipped} training images can't be read and were passed over, "
                f"e.g. {history.skipped_examples[0] if history.skipped_examples else 'on another process'}."
            )
        if as_json:
            click.echo(report.to_json(), nl=False)
            return
        from convsurgeon.models import is_factory

        for line in _lines(report, history):
            click.echo(line)
        trust = ", trust_factory=True" if is_factory(report.model) else ""
        click.echo(f'saved to {self.target}; load it with: convsurgeon.load("{self.target}"{trust})')


def _lines(report: Report, history: History) -> list[str]:
    """The outcome as sentences."""
    lines = [
        f"{report.model} with {report.method}: {history.steps} steps on {history.images} images ({history.device})"
    ]
    if history.rows:
        lines.append(f"loss {history.rows[0].loss:.4f} → {history.rows[-1].loss:.4f}")
    if history.after.images:
        lines.append(f"on {history.after.images} held-out images:")
        named = (("original", history.original), ("before", history.before), ("after", history.after))
        lines.extend(f"  {name:9}{score.describe()}" for name, score in named if score.describe())
        lines.append(f"kept: the weights of step {history.kept_step}")
    lines.extend(history.extras)
    return lines
