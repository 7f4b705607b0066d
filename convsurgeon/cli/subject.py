"""DIR|MODEL: a saved conversion or a model by its name, as a network with inputs for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.screen import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from convsurgeon.base.inputs import Inputs
    from convsurgeon.models.loading import LoadedModel

__all__ = ["open_original", "open_subject", "original_option", "rebuilt_by", "subject_options", "trust_option"]

Command = TypeVar("Command", bound="Callable[..., Any]")


original_option = click.option(
    "--original", metavar="MODEL", help="The original of DIR, where DIR does not name it or its file is not here."
)
trust_option = click.option("--trust-factory", is_flag=True, help="Run the factory that DIR names.")


def subject_options(command: Command) -> Command:
    """The argument DIR|MODEL, and the options that say how to open it."""
    for option in reversed(
        (
            click.argument("subject", metavar="DIR|MODEL"),
            click.option("--input", "input_shape", metavar="N,C,H,W", help="Input shape, e.g. 8,3,224,224."),
            click.option("--weights", metavar="auto|DEFAULT|none|FILE", help="Of MODEL.  [default: auto]"),
            click.option("--weights-key", metavar="KEY", help="Where in the file of weights, if it holds several."),
            original_option,
            trust_option,
        )
    ):
        command = option(command)
    return command


def open_subject(
    subject: str,
    original: str | None,
    input_shape: str | None,
    weights: str | None,
    weights_key: str | None,
    trust_factory: bool,
    device: str = "cpu",
) -> tuple[nn.Module, Inputs]:
    """The network with its weights on a device, and inputs for it.

    Raises:
        UsageError: options that belong to the other kind of subject, an original that nothing names, or a device that
            can't be used.
    """
    from convsurgeon.cli.loading import load_telling
    from convsurgeon.conversion.saved import load
    from convsurgeon.report.folder import MANIFEST

    folder = Path(subject)
    if not (folder / MANIFEST).is_file():
        if original is not None:
            raise UsageError(f"--original belongs to a saved conversion, and '{subject}' is none; leave it out.")
        loaded = load_telling(
            subject, weights=weights or "auto", weights_key=weights_key, input_shape=input_shape, device=device
        )
        for note in loaded.weights.notes:
            tell(f"note: {note}")
        return loaded.model, loaded.example_inputs
    if weights is not None or weights_key is not None:
        raise UsageError(f"--weights belongs to a model's name; '{subject}' brings its own weights, leave it out.")
    loaded = open_original(folder, original, input_shape, trust_factory, device)
    return load(folder, model=loaded.model).to(device), loaded.example_inputs


def open_original(
    folder: Path, original: str | None, input_shape: str | None, trust_factory: bool, device: str = "cpu"
) -> LoadedModel:
    """The architecture that a saved conversion was made from, with random weights and the conversion's inputs.

    Raises:
        UsageError: an original that nothing names, or an untrusted factory.
    """
    from convsurgeon.cli.loading import load_telling
    from convsurgeon.report.folder import read_saved_plan

    name = original or rebuilt_by(folder, trust_factory, "name it with --original MODEL.")
    loaded = load_telling(name, weights="none", input_shape=input_shape, device=device)
    if input_shape is not None:
        return loaded
    shapes = read_saved_plan(folder).input_shapes
    return dataclasses.replace(loaded, example_inputs=loaded.example_inputs.reshaped(shapes))


def rebuilt_by(folder: Path, trust_factory: bool, otherwise: str) -> str:
    """The name that builds the original of a saved conversion; ``otherwise`` says what to do where there is none.

    Raises:
        UsageError: it was the caller's own module, or a factory that nobody trusts.
    """
    from convsurgeon.models.loading import is_code
    from convsurgeon.report.folder import read_manifest, rebuild_of

    rebuild = rebuild_of(read_manifest(folder), folder)
    if rebuild is None:
        raise UsageError(
            f"'{folder}' was converted from a model object, so nothing says how to build the original; {otherwise}"
        )
    if is_code(rebuild) and not trust_factory:
        raise UsageError(
            f"'{folder}' is built by the factory '{rebuild.name}', which is code. Pass --trust-factory to run it."
        )
    return rebuild.from_here()
