"""Whether a lowered network still computes the same; nothing leaves the lowering without this."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ConvsurgeonError, ModelRunError
from convsurgeon.base.generators import kept_generators, reseed_torch
from convsurgeon.base.inputs import Inputs
from convsurgeon.deployment.lowering.full_float32 import full_float32
from convsurgeon.runtimes.closeness import TOLERANCE, allowed, as_tensors, disagreement
from convsurgeon.runtimes.machine import device_of

__all__ = ["relative_error", "require_equal"]

_EXACT = 1e-8


def relative_error(expected: nn.Module, found: nn.Module, inputs: Inputs) -> float:
    """The largest |a − b| / max |a| over all output tensors; infinite for other numbers or shapes of them."""
    with torch.no_grad(), kept_generators(), full_float32(device_of(expected)):
        reseed_torch(0)
        want = as_tensors(inputs.call(expected))
        reseed_torch(0)
        have = as_tensors(inputs.call(found))
    return disagreement(want, have, smallest=torch.finfo(torch.float32).tiny)


def require_equal(expected: nn.Module, found: nn.Module, inputs: Inputs) -> float:
    """The relative error on the inputs and on normal noise of their shapes.

    Raises:
        ModelRunError: the network's arithmetic is so unstable that regrouping its sums changes the outputs.
        ConvsurgeonError: the lowered network computes something else; that is a bug of this program.
    """
    cases = [inputs, _noise(inputs)]
    error = max(relative_error(expected, found, case) for case in cases)
    if error <= allowed(expected):
        return error
    exact, other = (duplicate(model).double() for model in (expected, found))
    if max(relative_error(exact, other, case.to(device_of(expected), torch.float64)) for case in cases) <= _EXACT:
        raise ModelRunError(
            f"the lowered network differs by {error:.1e} of the largest output (allowed {TOLERANCE:.0e}), and by "
            "nothing in float64: the network amplifies rounding errors. Train it, or lower it in float64."
        )
    raise ConvsurgeonError(f"the lowered network differs by {error:.1e} of the largest output")


def _noise(inputs: Inputs) -> Inputs:
    """Normal noise in place of every floating-point tensor."""
    generator = torch.Generator().manual_seed(0)

    def fill(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return torch.randn(tensor.shape, generator=generator).to(tensor)

    return inputs.changed(fill)
