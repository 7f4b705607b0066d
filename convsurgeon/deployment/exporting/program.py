"""A network as a torch.export program, which several formats start from."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from convsurgeon.base.errors import INTERRUPTIONS, ModelRunError, first_line
from convsurgeon.base.free_axes import FreeAxes, size_to_trace
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.working_folder import staying_here
from convsurgeon.runtimes.export_axes import BY_DIM, export_axes

__all__ = ["exported_program"]


def exported_program(model: nn.Module, inputs: Inputs, free: FreeAxes = ()) -> torch.export.ExportedProgram:
    """The program of a network in eval mode, for inputs of any length on the ``free`` axes.

    Raises:
        ModelRunError: torch.export can't take the model.
    """
    given = size_to_trace(inputs, free)
    try:
        with torch.no_grad(), staying_here(), warnings.catch_warnings():
            # About tensors that share memory: the comparison finds what matters.
            warnings.simplefilter("ignore")
            return torch.export.export(
                model,
                tuple(given.args),
                dict(given.kwargs),
                dynamic_shapes=export_axes(given, free, BY_DIM),
            )
    except (OSError, *INTERRUPTIONS):
        raise
    # It raises whatever the traced code or its own passes do.
    except BaseException as error:
        raise ModelRunError(f"torch.export can't take the model: {first_line(error)}.") from error
