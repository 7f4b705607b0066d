"""Weights out of a file into a model: found in the checkpoint, named as the model names them, fitted strictly."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from convsurgeon.base.errors import ModelLoadError
from convsurgeon.models.checkpoints import read_checkpoint
from convsurgeon.models.origin import WeightsOrigin
from convsurgeon.models.prefixes import named_for
from convsurgeon.models.state_dict import StateDict
from convsurgeon.models.strict_fit import Misfit, load_strictly
from convsurgeon.models.weights import WeightsRequest

__all__ = ["load_from_file"]


def load_from_file(
    model: nn.Module,
    request: WeightsRequest,
    target: str,
    translated: Callable[[StateDict], nn.Module] | None = None,
) -> tuple[nn.Module, WeightsOrigin]:
    """The model with a file's weights, and what was read.

    ``translated`` builds it from names that are not its own, as a library's old files have them; it raises
    ModelLoadError where it can't.

    Raises:
        UsageError, ModelLoadError: a file that can't be read, could be meant in several ways, or does not fit.
    """
    source = str(request.path)
    checkpoint = read_checkpoint(request.path, request.key)
    named = named_for(model, checkpoint, source)
    notes: tuple[str, ...] = ()
    try:
        notes = load_strictly(model, named.state, source, target)
    except Misfit as misfit:
        if translated is None:
            raise
        try:
            model = translated(named.state)
        except ModelLoadError:
            raise misfit from None
    return model, WeightsOrigin("file", source, checkpoint.key, (*checkpoint.notes(), *named.notes, *notes))
