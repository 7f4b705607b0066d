"""``demo``: every family in one table, offline."""

from __future__ import annotations

from pathlib import Path

import click

from convsurgeon.cli.options import json_option
from convsurgeon.cli.screen import answer, progress_bar, say, show
from convsurgeon.cli.sections import CommandWithSections

__all__ = ["demo_command"]


@click.command("demo", cls=CommandWithSections)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the network, its weights and the images into this new folder instead, to try other commands on.",
)
@json_option
def demo_command(output: Path | None, as_json: bool) -> None:
    """Convert a small network that ships with convsurgeon with every family, and print one table.

    Takes about a minute on one core and needs no network: a ResNet trained on handwritten digits is cut to half of
    its MACs; the table shows its accuracy after surgery, after calibration and after recovery, and its latency.
    """
    if output is not None:
        from convsurgeon.demo.sample import write_sample

        write_sample(output)
        say(f"written to {output}: net.py (a factory), net.safetensors, images/, labelled/")
        return
    from convsurgeon.demo.run import demonstrate
    from convsurgeon.demo.terminal import render

    with progress_bar() as progress:
        report = demonstrate(progress=progress)
    if as_json:
        answer(report.to_json())
    else:
        show(render(report))
