"""The network that a saved conversion is recovered towards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convsurgeon.base.errors import UnknownName, UsageError
from convsurgeon.cli.subject import rebuilt_by

if TYPE_CHECKING:
    from convsurgeon.models.loading import LoadedModel
    from convsurgeon.report.record import Report

__all__ = ["recorded_weights", "trained_original"]


def trained_original(
    folder: Path, original: str | None, weights: str | None, weights_key: str | None, trust_factory: bool, seed: int
) -> LoadedModel:
    """The network that DIR was converted from, with its weights and example inputs of the planned shapes.

    ``original`` names it where DIR does not, or where what DIR names is not here.

    Raises:
        UsageError: it was the caller's own module, an untrusted factory's, or its weights are random.
    """
    from convsurgeon.cli.loading import load_telling
    from convsurgeon.report.folder import read_report

    report = read_report(folder)
    otherwise = (
        f"name it with --original MODEL, or recover it in Python: convsurgeon.recover(original, '{folder}', data)."
    )
    name = original or rebuilt_by(folder, trust_factory, otherwise)
    if weights is None:
        weights, weights_key = recorded_weights(report), weights_key or report.weights.key
    loaded = load_telling(name, weights=weights, weights_key=weights_key, seed=seed)
    if loaded.weights.origin == "random":
        raise UsageError(
            f"the original {name} has random weights ({loaded.weights.detail.removeprefix('random: ')}), so there is "
            "nothing to recover towards. Pass its trained weights: --weights FILE or --weights DEFAULT."
        )
    return replace(loaded, example_inputs=loaded.example_inputs.reshaped(report.plan.input_shapes, seed))


def recorded_weights(report: Report) -> str:
    """The weights that the conversion started from; a file must still be there."""
    if report.weights.origin != "file":
        return "auto"
    if not Path(report.weights.detail).is_file():
        raise UnknownName(
            f"the original's weights came from {report.weights.detail}, which is not there; pass --weights FILE."
        )
    return report.weights.detail
