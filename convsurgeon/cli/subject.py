"""DIR|MODEL: a saved conversion or a model by its name, as a network with inputs for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convsurgeon.base.errors import UsageError
from convsurgeon.cli.options import together
from convsurgeon.cli.screen import tell

if TYPE_CHECKING:
    from torch import nn

    from convsurgeon.base.inputs import Inputs
    from convsurgeon.models.loading import LoadedModel

__all__ = [
    "Subject",
    "open_original",
    "open_subject",
    "original_option",
    "rebuilt_by",
    "subject_options",
    "trust_option",
]

original_option = click.option(
    "--original", metavar="MODEL", help="The original of DIR, where DIR does not name it or its file is not here."
)
trust_option = click.option("--trust-factory", is_flag=True, help="Run the factory that DIR names.")


# The argument DIR|MODEL, and the options that say how to open it.
subject_options = together(
    click.argument("subject", metavar="DIR|MODEL"),
    click.option("--input", "input_shape", metavar="N,C,H,W", help="Input shape, e.g. 8,3,224,224."),
    click.option("--weights", metavar="auto|DEFAULT|none|FILE", help="Of MODEL.  [default: auto]"),
    click.option("--weights-key", metavar="KEY", help="Where in the file of weights, if it holds several."),
    original_option,
    trust_option,
)


@dataclass(frozen=True)
class Subject:
    """DIR|MODEL and the options that say how to open it, as typed; see `subject_options`."""

    name: str
    input_shape: str | None = None
    weights: str | None = None
    weights_key: str | None = None
    original: str | None = None
    trust_factory: bool = False

    def __post_init__(self) -> None:
        if not self.is_folder and self.original is not None:
            raise UsageError(f"--original belongs to a saved conversion, and '{self.name}' is none; leave it out.")
        if self.is_folder and (self.weights is not None or self.weights_key is not None):
            raise UsageError(
                f"--weights belongs to a model's name; '{self.name}' brings its own weights, leave it out."
            )

    @property
    def folder(self) -> Path:
        """The name as a path."""
        return Path(self.name)

    @property
    def is_folder(self) -> bool:
        """Whether it is a saved conversion."""
        from convsurgeon.report.folder import MANIFEST

        return (self.folder / MANIFEST).is_file()

    def loaded(self, device: str = "cpu") -> LoadedModel:
        """The model of that name; notes on its weights go to standard error."""
        from convsurgeon.cli.loading import load_telling

        weights = self.weights or "auto"
        loaded = load_telling(
            self.name, weights=weights, weights_key=self.weights_key, input_shape=self.input_shape, device=device
        )
        for note in loaded.weights.notes:
            tell(f"note: {note}")
        return loaded


def open_subject(subject: Subject, device: str = "cpu") -> tuple[nn.Module, Inputs]:
    """The network with its weights on a device, and inputs for it.

    Raises:
        UsageError: an original that nothing names, or a device that can't be used.
    """
    from convsurgeon.conversion.saved import load

    if not subject.is_folder:
        loaded = subject.loaded(device)
        return loaded.model, loaded.example_inputs
    loaded = open_original(subject, device)
    return load(subject.folder, model=loaded.model).to(device), loaded.example_inputs


def open_original(
    subject: Subject, device: str = "cpu", *, weights: str = "none", weights_key: str | None = None
) -> LoadedModel:
    """The architecture that a saved conversion was made from, with random weights and the conversion's inputs.

    Other ``weights`` may be named.

    Raises:
        UsageError: an original that nothing names, or an untrusted factory.
    """
    from convsurgeon.cli.loading import load_telling
    from convsurgeon.report.folder import read_saved_plan

    name = subject.original or rebuilt_by(subject.folder, subject.trust_factory, "name it with --original MODEL.")
    loaded = load_telling(
        name, weights=weights, weights_key=weights_key, input_shape=subject.input_shape, device=device
    )
    if subject.input_shape is not None:
        return loaded
    shapes = read_saved_plan(subject.folder).input_shapes
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
