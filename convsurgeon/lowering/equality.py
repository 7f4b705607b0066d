"""Whether a lowered network still computes the same; nothing leaves the lowering without this."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convsurgeon.counting import duplicate
from convsurgeon.errors import ConvsurgeonError, ModelRunError
from convsurgeon.inputs import Inputs
from convsurgeon.runtimes.agreement import as_tensors

__all__ = ["TOLERANCE", "relative_error", "require_equal"]

TOLERANCE = 1e-4
_EXACT = 1e-8
# Half precision rounds at every operation, so that regrouped sums differ in their last digits.
_COARSE = 3e-2


def relative_error(expected: nn.Module, found: nn.Module, inputs: Inputs) -> float:
    """The largest |a − b| / max |a| over all output tensors; infinite for other numbers or shapes of them."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        want = as_tensors(inputs.call(expected))
        torch.manual_seed(0)
        have = as_tensors(inputs.call(found))
    if len(want) != len(have) or any(a.shape != b.shape for a, b in zip(want, have, strict=False)):
        return float("inf")
    return max((_error(a.double(), b.double()) for a, b in zip(want, have, strict=True)), default=0.0)


def _error(a: Tensor, b: Tensor) -> float:
    # Untrained networks overflow; what is infinite or undefined on both sides agrees.
    gaps = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs())
    if not a.numel() or float(gaps.max()) == 0.0:
        return 0.0
    finite = a[a.isfinite()].abs()
    error = float(gaps.max()) / max(float(finite.max()) if finite.numel() else 0.0, torch.finfo(torch.float32).tiny)
    return error if error == error else float("inf")


def require_equal(expected: nn.Module, found: nn.Module, inputs: Inputs) -> float:
    """The relative error on the inputs and on normal noise of their shapes.

    Raises:
        ModelRunError: the network's arithmetic is so unstable that regrouping its sums changes the outputs.
        ConvsurgeonError: the lowered network computes something else; that is a bug of this program.
    """
    cases = [inputs, _noise(inputs)]
    error = max(relative_error(expected, found, case) for case in cases)
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in expected.parameters())
    if error <= (_COARSE if half else TOLERANCE):
        return error
    exact, other = (duplicate(model).double() for model in (expected, found))
    if max(relative_error(exact, other, case.to(_device(expected), torch.float64)) for case in cases) <= _EXACT:
        raise ModelRunError(
            f"the lowered network differs by {error:.1e} of the largest output (allowed {TOLERANCE:.0e}), and by "
            "nothing in float64: the network amplifies rounding errors. Train it, or lower it in float64."
        )
    raise ConvsurgeonError(f"the lowered network differs by {error:.1e} of the largest output")


def _noise(inputs: Inputs) -> Inputs:
    """Normal noise in place of every floating-point tensor."""
    from torch.utils._pytree import tree_map_only

    generator = torch.Generator().manual_seed(0)

    def fill(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        return torch.randn(tensor.shape, generator=generator).to(tensor)

    return Inputs(tree_map_only(Tensor, fill, inputs.args), tree_map_only(Tensor, fill, dict(inputs.kwargs)))


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
