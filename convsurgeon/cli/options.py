"""Options that several commands share, and how they become a Recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convsurgeon.base.errors import UsageError

if TYPE_CHECKING:
    from convsurgeon.planning.recipe import Recipe

__all__ = ["Request", "default_folder", "json_option", "model_options", "output_options", "plan_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")


def model_options(command: Command, weights: str = "auto") -> Command:
    """Where the model comes from; ``weights`` is the default that the help names."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="Device to load and run the model on."),
        click.option("--seed", type=int, help="Seed of fresh weights and example inputs.  [default: 0]"),
        click.option("--input", "input_shape", metavar="N,C,H,W", help="Input shape, e.g. 1,3,224,224."),
        click.option(
            "--weights",
            metavar="auto|DEFAULT|none|FILE",
            help="Pretrained if they can be had (auto), pretrained or fail (DEFAULT), random (none), or a state "
            f"dict as .safetensors or .pth.  [default: {weights}]",
        ),
    ):
        command = option(command)
    return command


def plan_options(command: Command) -> Command:
    """What to replace, by what, how far."""
    for option in (
        click.option(
            "--latency-batch", type=click.IntRange(min=1), help="Batch size to time in.  [default: the input's]"
        ),
        click.option("--runtime", metavar="NAME", help="Time in eager, onnxruntime or openvino.  [default: eager]"),
        click.option(
            "--allow-slower/--no-slower",
            default=None,
            help="Take swaps that were timed and do not pay in time, or leave them out (the default).",
        ),
        click.option(
            "--time-layers/--no-time-layers",
            default=None,
            help="Time every candidate on this machine; a latency target does so by itself.",
        ),
        click.option(
            "--recipe",
            "recipe_file",
            type=click.Path(path_type=Path),
            help="A TOML recipe; options win over it.",
        ),
        click.option("--shortcuts/--no-shortcuts", default=None, help="Also replace 1×1 residual shortcuts."),
        click.option("--stem/--no-stem", default=None, help="Also replace the first convolution."),
        click.option(
            "--skip",
            multiple=True,
            metavar="PATTERN",
            help="Leave these: name, glob, re:…, type:…, kernel:3x3.",
        ),
        click.option("--only", multiple=True, metavar="PATTERN", help="Replace only these; patterns as for --skip."),
        click.option(
            "--target",
            multiple=True,
            metavar="macs=50%",
            help="Keep at most this: macs=50%, macs=2.0G, flops=4G (2 × MACs), params=12M, latency=60%, latency=12ms. "
            "Repeatable.",
        ),
        click.option("--method", metavar="NAME", help="See 'convsurgeon methods'.  [default: auto]"),
    ):
        command = option(command)
    return command


def output_options(command: Command) -> Command:
    """Where the result goes."""
    for option in (
        json_option,
        click.option("--dry-run", is_flag=True, help="Plan and report; change and write nothing."),
        click.option("--force", is_flag=True, help="Replace the output folder if it exists."),
        click.option("-o", "--output", type=click.Path(path_type=Path), help="Output folder.  [default: MODEL-METHOD]"),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Request:
    """The shared options, as typed."""

    model: str | None
    recipe_file: Path | None
    method: str | None
    target: tuple[str, ...]
    only: tuple[str, ...]
    skip: tuple[str, ...]
    stem: bool | None
    shortcuts: bool | None
    time_layers: bool | None
    allow_slower: bool | None
    runtime: str | None
    latency_batch: int | None
    weights: str | None
    input_shape: str | None
    seed: int | None

    def recipe(self) -> Recipe:
        """The recipe with these options in place of its values.

        Raises:
            UsageError: neither names a model.
        """
        from convsurgeon.planning.recipe import merged

        base = merged(self.recipe_file)
        given = {
            "only": self.only or None,
            "skip": self.skip or None,
            "stem": self.stem,
            "shortcuts": self.shortcuts,
        }
        rules = base.rules.model_copy(update={k: v for k, v in given.items() if v is not None})
        recipe = merged(
            base,
            model=self.model,
            method=self.method,
            target=self.target or None,
            weights=self.weights,
            input=self.input_shape,
            seed=self.seed,
            rules=rules,
            time_layers=self.time_layers,
            allow_slower=self.allow_slower,
            runtime=self.runtime,
            latency_batch=self.latency_batch,
        )
        if recipe.model is None:
            raise UsageError("no model given: name one (convsurgeon convert resnet50), or a recipe that does.")
        return recipe


def default_folder(model: str, method: str) -> Path:
    """``MODEL-METHOD`` with ``/`` and ``:`` replaced by ``-``."""
    return Path(f"{model}-{method}".replace("/", "-").replace(":", "-"))
