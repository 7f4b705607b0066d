"""The complexity ζ of learned groups, and the factor on the loss that holds it to a budget (arXiv 1908.05867)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["complexity", "regulariser"]


def complexity(gates: Tensor, in_channels: int, out_channels: int) -> Tensor:
    """Ones in U, a layer's term of the network's complexity ζ: C·∏(1 + g_k) where C_in = C_out = 2^K."""
    return in_channels * out_channels / 2 ** len(gates) * torch.prod(1 + gates)


def regulariser(complexity_total: Tensor, budget: float, exponent: float = -0.02) -> Tensor:
    """Factor [o/ζ]^a on the loss, with ``exponent`` as the published code has it: a = 0 once ζ < o, else −0.02."""
    if float(complexity_total.detach()) < budget:
        return torch.ones_like(complexity_total)
    return (budget / complexity_total) ** exponent
