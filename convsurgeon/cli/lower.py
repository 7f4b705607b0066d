"""``lower``: a network's deployment form as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convsurgeon.base.errors import OutputExists, UsageError
from convsurgeon.cli.options import json_option
from convsurgeon.cli.screen import answer, say, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.subject import Subject, open_subject, subject_options

if TYPE_CHECKING:
    from convsurgeon.base.free_axes import FreeAxes
    from convsurgeon.base.inputs import Inputs
    from convsurgeon.deployment.lowering import Lowered

__all__ = ["lower_command"]


@click.command("lower", cls=CommandWithSections)
@subject_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File.  [default: SUBJECT.lowered.pt2]")
@click.option(
    "--runtime",
    default="eager",
    show_default=True,
    metavar="NAME",
    help="Where forms are timed: eager, compile, onnxruntime, openvino; none times nothing.",
)
@click.option(
    "--precision",
    metavar="NAME",
    help="Arithmetic to time forms in: float32, bfloat16.  [default: what the runtime takes by itself]",
)
@click.option("--batch", type=click.IntRange(min=1), help="Batch size to time with.  [default: the inputs' own]")
@click.option("--device", default="cpu", show_default=True, help="Device to time forms on; the file loads on any.")
@click.option("--force", is_flag=True, help="Replace the files if they exist.")
@json_option
def lower_command(
    subject: str,
    output: Path | None,
    runtime: str,
    precision: str | None,
    batch: int | None,
    input_shape: str | None,
    weights: str | None,
    weights_key: str | None,
    original: str | None,
    trust_factory: bool,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Write the deployment form of a saved conversion DIR, or of MODEL: a .pt2 file, for inference only.

    The outputs are equal (checked: within 1e-4 of the largest). torch.export.load(FILE).module() runs it without
    convsurgeon; what was done stands in a .json file beside it.
    """
    with working(f"lowering {subject}"):
        from convsurgeon.base.batch_axis import rebatched
        from convsurgeon.base.files import refuse_existing_file
        from convsurgeon.deployment.exporting.file import Described, write_described
        from convsurgeon.deployment.lowering import lower

        path = output or Path(f"{subject.rstrip('/').replace('/', '-').replace(':', '-')}.lowered.pt2")
        if path.suffix != ".pt2":
            raise UsageError(f"'{path.name}' is to hold a torch.export program; expected a name that ends in .pt2.")
        beside = path.with_suffix(".json")
        for file in (path, beside):
            refuse_existing_file(file, force)
        _refuse_foreign(beside)
        opened = Subject(subject, input_shape, weights, weights_key, original, trust_factory)
        model, inputs = open_subject(opened, device)
        if batch is not None:
            inputs = rebatched(inputs, batch)
        lowered = lower(model, inputs, runtime=None if runtime == "none" else runtime, precision=precision)
        steps = Described(beside.suffix, lambda written: _as_json(lowered, inputs, written.free, device))
        written = write_described(lowered.model, inputs, path, steps, force=force)
    if as_json:
        answer(_as_json(lowered, inputs, written.free, device))
        return
    _show(lowered, path, beside, written.notes)


def _refuse_foreign(beside: Path) -> None:
    """Nobody named this file, so only one that ``lower`` wrote may be replaced."""
    if not beside.exists():
        return
    try:
        content = json.loads(beside.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not {"convsurgeon", "steps"} <= content.keys():
        raise OutputExists(f"'{beside}' is not by lower, so --force does not replace it; choose another -o FILE.")


def _as_json(lowered: Lowered, inputs: Inputs, free: FreeAxes, device: str) -> str:
    import torch

    from convsurgeon._version import __version__

    data = {
        "convsurgeon": __version__,
        "torch": str(torch.__version__),
        "input_shapes": [list(shape) for shape in inputs.shapes()],
        "free": list(free),
        "timed_in": lowered.runtime,
        "timed_precision": lowered.precision,
        "device": device,
        "relative_error": lowered.error,
        "steps": [step.model_dump() for step in lowered.steps],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _show(lowered: Lowered, path: Path, beside: Path, notes: tuple[str, ...]) -> None:
    for line in (*lowered.summary(), *notes):
        say(line)
    for step in lowered.steps:
        if not step.done:
            say(f"left alone: {step.where or 'the model'}: {step.what}")
    say(f"outputs equal within {lowered.error:.1e} of the largest")
    say(f"written to {path} (steps in {beside}); run it with: torch.export.load('{path}').module()")
