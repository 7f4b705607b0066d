"""``export``: a network as a file for a deployment runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convsurgeon.cli.options import json_option
from convsurgeon.cli.screen import answer, say, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.subject import open_subject, subject_options

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
    help="File that ends in .pt2 (torch.export), .onnx or .xml (OpenVINO, with a .bin beside it).",
)
@click.option("--no-lower", is_flag=True, help="Keep batch norms and compact units as they are.")
@click.option(
    "--precision",
    metavar="NAME",
    help="Arithmetic to time forms in: float32, bfloat16.  [default: what the file's runtime takes by itself]",
)
@click.option(
    "--free",
    metavar="batch,height,width",
    help="Axes of the inputs that may have any length; none for the example's sizes only.  [default: batch, where the "
    "model allows it]",
)
@click.option("--opset", type=int, metavar="N", help="Version of ONNX's operators.  [default: the exporter's own]")
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
    force: bool,
    as_json: bool,
) -> None:
    """Write a saved conversion DIR, or MODEL, to a file that runs without convsurgeon.

    The network is lowered first (batch norms folded, units as plain convolutions, in the form that is fastest in that
    runtime). The file takes any batch size where the model does, and with --free height,width images of other
    sizes. Its outputs are read back and compared with the network's, within 1e-4, at another size too.
    """
    with working(f"writing and comparing {output}"):
        from convsurgeon.base.free_axes import free_in_words
        from convsurgeon.deployment.exporting import export
        from convsurgeon.deployment.exporting.file import require_writable

        require_writable(output, None, force)
        model, inputs = open_subject(subject, original, input_shape, weights, weights_key, trust_factory)
        done = export(
            model, inputs, output, lowered=not no_lower, precision=precision, free=free, opset=opset, force=force
        )
        sizes = free_in_words(done.free)
    if as_json:
        answer(json.dumps(_record(done), indent=2, ensure_ascii=False))
        return
    for line in (*done.steps, *done.notes):
        say(line)
    say(f"outputs equal within {done.error:.1e}, read back from the file; takes {sizes}")
    say(f"written to {done.path}")


def _record(done: Exported) -> dict[str, object]:
    return {
        "path": str(done.path),
        "format": done.format,
        "free": list(done.free),
        "error": done.error,
        "steps": list(done.steps),
        "notes": list(done.notes),
    }
