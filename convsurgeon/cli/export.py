"""``export``: a network as a file for a deployment runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convsurgeon.cli.export_int8 import Int8Request, int8_options
from convsurgeon.cli.options import json_option
from convsurgeon.cli.screen import answer, say, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.subject import Subject, open_subject, subject_options

if TYPE_CHECKING:
    from convsurgeon.deployment.exporting import Exported

__all__ = ["export_command"]


@click.command("export", cls=CommandWithSections)
@subject_options
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="File that ends in .pt2 (torch.export), .onnx, .xml (OpenVINO, with a .bin beside it), .tflite (LiteRT), .pte "
    "(ExecuTorch) or .mlpackage (Core ML).",
)
@click.option("--no-lower", is_flag=True, help="Keep batch norms and compact units as they are.")
@click.option(
    "--precision",
    metavar="NAME",
    help="Arithmetic to time forms in: float32, bfloat16; of a Core ML file its own: float16, float32.  [default: what "
    "the file's runtime takes by itself]",
)
@click.option(
    "--free",
    metavar="batch,height,width",
    help="Axes of the inputs that may have any length; none for the example's sizes only.  [default: batch, where the "
    "model allows it]",
)
@click.option("--opset", type=int, metavar="N", help="Version of ONNX's operators.  [default: the exporter's own]")
@click.option("--int8", is_flag=True, help="Quantise to eight bits on the images of --calibrate, and compare.")
@int8_options
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def export_command(
    subject: str,
    input_shape: str | None,
    weights: str | None,
    weights_key: str | None,
    original: str | None,
    trust_factory: bool,
    output: Path,
    no_lower: bool,
    precision: str | None,
    free: str | None,
    opset: int | None,
    int8: bool,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Write a saved conversion DIR, or MODEL, to a file that runs without convsurgeon.

    The network is lowered first (batch norms folded, units as plain convolutions, in the form that is fastest in that
    runtime). The file takes any batch size where the model does, and with --free height,width images of other
    sizes. Its outputs are read back and compared with the network's, within 1e-4, at another size too. A Core ML file
    can't be run here: it is only looked at, which is said.

    With --int8 the file in float is compared so, and the int8 file with that and with the original, on images that
    nothing was measured on: agreement, size, time.
    """
    opened = Subject(subject, input_shape, weights, weights_key, original, trust_factory)
    wanted = Int8Request.of(int8, opened, given)
    options: dict[str, Any] = {
        "lowered": not no_lower,
        "precision": precision,
        "free": free,
        "opset": opset,
        "force": force,
    }
    done = _in_float(opened, output, options) if wanted is None else wanted.export(opened, output, options)
    if as_json:
        answer(json.dumps(_record(done), indent=2, ensure_ascii=False))
        return
    _say(done)


def _in_float(subject: Subject, output: Path, options: Mapping[str, Any]) -> Exported:
    with working(f"writing and comparing {output}"):
        from convsurgeon.deployment.exporting import export
        from convsurgeon.deployment.exporting.request import require_writable

        require_writable(output, None, options["force"])
        model, inputs = open_subject(subject)
        return export(model, inputs, output, **options)


def _say(done: Exported) -> None:
    from convsurgeon.base.free_axes import free_in_words
    from convsurgeon.deployment.quantising.record import lines

    for line in (*done.steps, *done.notes):
        say(line)
    in_float = "" if done.int8 is None else "the file in float: "
    compared = (
        f"NOT RUN, and its outputs not compared: {done.not_run}"
        if done.error is None
        else f"{in_float}outputs equal within {done.error:.1e}, read back from the file"
    )
    say(f"{compared}; takes {free_in_words(done.free)}")
    for line in () if done.int8 is None else lines(done.int8):
        say(line)
    say(f"written to {done.path}")


def _record(done: Exported) -> dict[str, object]:
    return {
        "path": str(done.path),
        "format": done.format,
        "free": list(done.free),
        "error": done.error,
        "not_run": done.not_run,
        "steps": list(done.steps),
        "notes": list(done.notes),
        **({} if done.int8 is None else {"int8": done.int8.model_dump()}),
    }
