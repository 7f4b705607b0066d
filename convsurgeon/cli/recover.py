"""``recover``: training a converted model back towards its original."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.command_line import command_line
from convsurgeon.cli.data import (
    DataRequest,
    evaluation_options,
    prepared_before,
    preprocessing_options,
    taken_preprocessing,
)
from convsurgeon.cli.exit_codes import INTERRUPTED
from convsurgeon.cli.options import json_option
from convsurgeon.cli.page_file import html_option
from convsurgeon.cli.recover_images import Pictures
from convsurgeon.cli.recover_options import given_settings, image_options, training_options
from convsurgeon.cli.recover_original import trained_original
from convsurgeon.cli.recover_run import RecoverRun
from convsurgeon.cli.screen import is_main_process, tell
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.subject import original_option, trust_option
from convsurgeon.families import LEARNABLE

if TYPE_CHECKING:
    from convsurgeon.recovery.callback import Callback

__all__ = ["recover_command"]


@click.command("recover", cls=CommandWithSections)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of images to train on.")
@click.option("--labels/--no-labels", default=None, help="Read subfolders as classes.  [default: where there are any]")
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    help="What is on the images, in COCO's format: with --label-weight a detector learns from its own losses, too.",
)
@evaluation_options
@preprocessing_options
@training_options
@image_options
@click.option(
    "--original-weights",
    "--weights",
    "weights",
    metavar="auto|DEFAULT|FILE",
    help="The original's trained weights.  [default: those that DIR was converted from]",
)
@click.option("--weights-key", metavar="KEY", help="Where in the file of weights, if it holds several.")
@click.option(
    "--device", default="auto", show_default=True, help="Device to train on; auto takes a GPU if there is one."
)
@original_option
@trust_option
@click.option(
    "--checkpoints", type=click.Path(path_type=Path), help="Folder of checkpoints.  [default: OUTPUT.training]"
)
@click.option(
    "--learn-groups",
    is_flag=True,
    help=f"Train the gates of a conversion with --method {LEARNABLE} (open gates) until --target is met; then harden "
    "them.",
)
@click.option(
    "--target",
    "budget",
    multiple=True,
    metavar="macs=50%",
    help="With --learn-groups: keep at most this of the original: macs=50%, macs=2.0G, params=12M. Repeatable.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint; the other options as before.")
@html_option
@json_option
@click.option("--force", is_flag=True, help="Replace the output folder and the checkpoints if they exist.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Output folder.  [default: DIR-recovered]"
)
def recover_command(
    folder: Path,
    data: Path,
    labels: bool | None,
    annotations: Path | None,
    evaluate: Path | None,
    classes: Path | None,
    weights: str | None,
    weights_key: str | None,
    device: str,
    original: str | None,
    trust_factory: bool,
    checkpoints: Path | None,
    learn_groups: bool,
    budget: tuple[str, ...],
    resume: bool,
    page: Path | None,
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

    settings, images = given_settings(given)
    if annotations is not None and not settings.label_weight:
        raise UsageError("--annotations is looked at only with --label-weight above 0; pass both, or neither.")
    output = target or folder.with_name(f"{folder.name}-recovered")
    run = RecoverRun(folder, output, force, resume, checkpoints, page, named=original is not None)
    learned = _learned_groups(folder, learn_groups, budget)
    run.refuse_existing()
    teacher = trained_original(folder, original, weights, weights_key, trust_factory, settings.seed)
    preprocessing = taken_preprocessing(given, prepared_before(folder))
    request = DataRequest(None, evaluate=evaluate, classes=classes, preprocessing=preprocessing)
    pictures = Pictures(data, labels, annotations, request, images)
    try:
        run.train(teacher, pictures, settings, device, learned, as_json)
    except Interrupted as stop:
        if is_main_process():
            tell(f"{stop}\ngo on with: {command_line()}{'' if resume else ' --resume'}")
        return INTERRUPTED
    return 0


def _learned_groups(folder: Path, learn_groups: bool, budget: tuple[str, ...]) -> tuple[Callback, ...]:
    """What learns along, refused before any work is done."""
    from convsurgeon.recovery.learned_groups.request import requested
    from convsurgeon.report.folder import read_saved_plan

    return requested(read_saved_plan(folder), learn_groups, budget)
