"""Both networks in their deployment form, made for the runtime and the inputs that a row times."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.lowering import lower

__all__ = ["lowered_pair"]


def lowered_pair(pair: Sequence[nn.Module], inputs: Inputs, runtime: str, precision: str) -> list[nn.Module]:
    """Each network lowered the same way, the original too: its batch norms fold just as well."""
    return [lower(model, inputs, runtime=runtime, precision=precision).model.eval() for model in pair]
