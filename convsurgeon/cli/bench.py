"""``bench``: milliseconds beside MACs."""

from __future__ import annotations

import re
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.base.outside_text import in_unicode
from convsurgeon.cli.command_line import command_line
from convsurgeon.cli.options import json_option
from convsurgeon.cli.page_file import html_option, refuse_foreign_page, write_page
from convsurgeon.cli.screen import answer, progress_bar, show, working
from convsurgeon.cli.sections import CommandWithSections
from convsurgeon.cli.subject import Subject, open_original

if TYPE_CHECKING:
    from torch import nn

    from convsurgeon.base.inputs import Inputs

__all__ = ["bench_command"]


# An hour of samples; nobody means more.
_LONGEST = 3600


@click.command("bench", cls=CommandWithSections)
@click.argument("subject", metavar="DIR|MODEL")
@click.option("--batch", "batches", default="1", show_default=True, help="Batch sizes, e.g. 1,8.")
@click.option(
    "--runtime",
    "runtimes",
    metavar="NAMES",
    help="eager, compile, onnxruntime, openvino, with commas between.  [default: all that are installed]",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's own number]")
@click.option("--seconds", type=click.FloatRange(0, _LONGEST, min_open=True), help="Of samples, per network and row.")
@click.option("--layers", is_flag=True, help="Also time every convolution inside the running networks (eager).")
@click.option("--lowered", is_flag=True, help="Bring both networks into their deployment form first.")
@click.option("--int8", is_flag=True, help="Also time both networks lowered and quantised, where the runtime can.")
@click.option("--original", metavar="MODEL", help="The original of DIR, where DIR does not say what builds it.")
@click.option("--input", "input_shape", metavar="N,C,H,W", help="Input shape, e.g. 1,3,224,224.")
@click.option("--device", default="cpu", show_default=True, help="Device to run on.")
@click.option("--trust-factory", is_flag=True, help="Run the factory that DIR names.")
@html_option
@json_option
def bench_command(
    subject: str,
    batches: str,
    runtimes: str | None,
    threads: int | None,
    seconds: float | None,
    layers: bool,
    lowered: bool,
    int8: bool,
    original: str | None,
    input_shape: str | None,
    device: str,
    trust_factory: bool,
    page: Path | None,
    as_json: bool,
) -> None:
    """Time a saved conversion DIR beside its original, in turn; or MODEL alone.

    Weights are random where they do not matter to time. Runtimes that are not installed are listed with what brings
    them; naming one that is not there ends with exit code 2.
    """
    if seconds is not None and isnan(seconds):
        raise UsageError("--seconds nan is no time; expected a number above 0.")
    sizes = _sizes(batches)
    refuse_foreign_page(page)
    with working(f"loading {subject}"):
        opened = Subject(subject, input_shape, original=original, trust_factory=trust_factory)
        first, second, inputs = _networks(opened, device)
        from convsurgeon.deployment.benching import bench
    from convsurgeon.deployment.benching.terminal import render

    with progress_bar() as progress:
        report = bench(
            first,
            second,
            inputs,
            batches=sizes,
            runtimes=runtimes,
            threads_used=threads,
            layers=layers,
            lowered=lowered,
            int8=int8,
            seconds=seconds,
            name=in_unicode(subject),
            progress=progress,
        )
    if page is not None:
        from convsurgeon.deployment.benching.page import to_html

        write_page(page, to_html(report, command_line()))
    if as_json:
        answer(report.to_json())
    else:
        show(render(report))


def _sizes(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", word) and int(word) for word in words):
        raise UsageError(f"--batch '{text}' can't be read; expected whole numbers of up to nine digits, e.g. 1,8.")
    return tuple(int(word) for word in words)


def _networks(subject: Subject, device: str) -> tuple[nn.Module, nn.Module | None, Inputs]:
    """The original, its converted twin, and inputs for both; a model named alone has no twin."""
    from convsurgeon.cli.loading import load_telling

    if not subject.is_folder:
        loaded = load_telling(subject.name, weights="none", input_shape=subject.input_shape, device=device)
        return loaded.model, None, loaded.example_inputs
    from convsurgeon.conversion.saved import load

    loaded = open_original(subject, device)
    return loaded.model, load(subject.folder, model=loaded.model).to(device), loaded.example_inputs
