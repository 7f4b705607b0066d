"""DGConv: dynamic grouping convolution, whose group number and connections are learned.

Zhang, Li, Shao, Luo: "Differentiable Learning-to-Group Channels via Groupable Convolutional Neural Networks",
ICCV 2019, arXiv 1908.05867. The weight is U ⊙ ω with a binary relationship matrix

    U = U_1 ⊗ … ⊗ U_K,   U_k = g_k·1 + (1 − g_k)·I   (2×2),   g = (sign(g̃) + 1) / 2,   K = log2 C

U_1 is the most significant factor. All gates 1: dense; all 0: 2^K groups; otherwise 2^(number of zeros) groups.

The paper has C_in = C_out = 2^K. Here K is the number of factors 2 in gcd(C_in, C_out), and every entry of U is
expanded to a block of C_out/2^K × C_in/2^K channels; without such a factor there is nothing to group. In training
a DGConv is a dense masked convolution and saves nothing; hardened, it is permute → grouped convolution → permute.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from convsurgeon.families.channel_order import reordered
from convsurgeon.families.cost import ConvShape, Cost, conv_cost
from convsurgeon.families.family import Card, CompactConv, Refusal, Spec
from convsurgeon.families.torch_convs import conv_like, conv_shape, pads_by_itself

__all__ = [
    "CARD",
    "DGConv",
    "DGConvMethod",
    "DGConvSpec",
    "HardenedDGConv",
    "complexity",
    "gate_count",
    "harden",
    "parse_method",
    "regulariser",
]

CARD = Card(
    family="dgconv",
    title="DGConv",
    paper="Zhang, Li, Shao, Luo, ICCV 2019, arXiv 1908.05867",
    methods="dgconv (open gates without a target; 2^z groups per layer, hardened, with one)",
    idea="A grouped convolution whose grouping is learned; with all gates open it is the pretrained convolution.",
    good_for="starting a training run exactly at the original: the conversion with open gates is lossless",
    bad_for="conversion without training (a plain grouping cuts every path between groups), and speed: "
    "many thin groups gain few milliseconds; networks that are grouped already have nothing to give",
)


def gate_count(in_channels: int, out_channels: int) -> int:
    """K: the number of factors 2 in gcd(C_in, C_out); log2 C for C_in = C_out = 2^K."""
    common = math.gcd(in_channels, out_channels)
    return (common & -common).bit_length() - 1


class DGConvSpec(Spec):
    """``groups`` None: gates to be learned, all open. Otherwise hardened to that many groups (a power of two)."""

    family: Literal["dgconv"] = "dgconv"
    groups: PositiveInt | None = None

    def cost(self, shape: ConvShape, positions: int) -> Cost:
        """Dense while the gates are open (plus K gate parameters); a grouped convolution once hardened."""
        cost = conv_cost(
            shape.in_channels,
            shape.out_channels,
            shape.area,
            groups=self.groups or 1,
            bias=shape.bias,
            positions=positions,
        )
        gates = gate_count(shape.in_channels, shape.out_channels) if self.groups is None else 0
        return cost + Cost(macs=0, params=gates)

    def misfit(self, shape: ConvShape) -> str | None:
        """2^z times the convolution's groups, at most as many as the channels have factors 2; or open gates."""
        found = DGConvMethod(hardened=self.groups is not None).specs(shape, ())
        if isinstance(found, Refusal):
            return found.reason
        # As many groups as the convolution has: gates that were learned and all stayed open.
        if self in found or self.groups == shape.groups:
            return None
        return f"expected one of {', '.join(str(spec.groups) for spec in found)} groups"

    def build(self, shape: ConvShape) -> DGConv | HardenedDGConv:
        """A freshly initialised module."""
        return DGConv(shape) if self.groups is None else HardenedDGConv(shape, self)

    def describe(self) -> str:
        """E.g. ``DGConv 8 groups``."""
        return "DGConv open gates" if self.groups is None else f"DGConv {self.groups} groups"


class _Binarise(torch.autograd.Function):
    """(sign(x) + 1) / 2 forward, with sign(0) = 1; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor) -> Tensor:
        return (latent >= 0).to(latent.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


class DGConv(nn.Conv2d):
    """Trainable form: [N, C_in, H, W] → [N, C_out, H', W'], a dense convolution with weight U ⊙ ω.

    ``latent_gates`` [K] are the real numbers g̃; they start at 1 (open), where the output equals the plain
    convolution bit for bit.
    """

    def __init__(self, shape: ConvShape) -> None:
        super().__init__(
            shape.in_channels,
            shape.out_channels,
            shape.kernel,  # type: ignore[arg-type]
            stride=shape.stride,  # type: ignore[arg-type]
            padding=shape.padding,  # type: ignore[arg-type]
            dilation=shape.dilation,  # type: ignore[arg-type]
            bias=shape.bias,
            padding_mode=shape.padding_mode,
        )
        self.latent_gates = nn.Parameter(torch.ones(gate_count(shape.in_channels, shape.out_channels)))

    def gates(self) -> Tensor:
        """Binary gates [K], with a straight-through gradient."""
        gates: Tensor = _Binarise.apply(self.latent_gates)
        return gates

    def relationship(self) -> Tensor:
        """U, expanded to [C_out, C_in]."""
        core = relationship_matrix(self.gates())
        return core.repeat_interleave(self.out_channels // len(core), 0).repeat_interleave(
            self.in_channels // len(core), 1
        )

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        mask = self.relationship().view(self.out_channels, self.in_channels, 1, 1)
        return self._conv_forward(input, self.weight * mask, self.bias)


def relationship_matrix(gates: Tensor) -> Tensor:
    """U = U_1 ⊗ … ⊗ U_K as a [2^K, 2^K] matrix from gates [K]; differentiable in the gates."""
    eye, ones = torch.eye(2).to(gates), torch.ones(2, 2).to(gates)
    factors = [gate * ones + (1 - gate) * eye for gate in gates]
    return reduce(torch.kron, factors, torch.ones(1, 1).to(gates))


def complexity(gates: Tensor, in_channels: int, out_channels: int) -> Tensor:
    """Ones in U, a layer's term of the network's complexity ζ: C·∏(1 + g_k) where C_in = C_out = 2^K."""
    return in_channels * out_channels / 2 ** len(gates) * torch.prod(1 + gates)


def regulariser(complexity_total: Tensor, budget: float, exponent: float = -0.02) -> Tensor:
    """Factor [o/ζ]^a on the loss, with ``exponent`` as the published code has it: a = 0 once ζ < o, else −0.02."""
    if float(complexity_total.detach()) < budget:
        return torch.ones_like(complexity_total)
    return (budget / complexity_total) ** exponent


class HardenedDGConv(CompactConv):
    """Deployment form: permute → grouped convolution → permute back, [N, C_in, H, W] → [N, C_out, H', W'].

    ``input_order`` [C_in] lists the input channels group by group; ``output_order`` [C_out] reads the output
    channels back from their groups. Both start as the identity.
    """

    spec: DGConvSpec
    input_order: Tensor
    output_order: Tensor

    def __init__(self, shape: ConvShape, spec: DGConvSpec) -> None:
        super().__init__(shape, spec)
        self.grouped = conv_like(shape, shape.in_channels, shape.out_channels, groups=spec.groups or 1, bias=shape.bias)
        self.register_buffer("input_order", torch.arange(shape.in_channels))
        self.register_buffer("output_order", torch.arange(shape.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        return reordered(self.grouped(reordered(x, self.input_order)), self.output_order)


def harden(conv: DGConv) -> HardenedDGConv:
    """Turn a trained DGConv into its exactly equal deployment form; the gates that are 0 become groups.

    Channels whose row of U is equal form a group: the bits of a channel's index at closed gates name it.
    """
    shape = conv_shape(conv)
    closed = [k for k, gate in enumerate(conv.gates().tolist()) if gate == 0]
    groups = 2 ** len(closed)
    hard = HardenedDGConv(shape, DGConvSpec(groups=groups)).to(conv.weight)
    inputs = _group_of(conv.in_channels, len(conv.latent_gates), closed).argsort(stable=True)
    outputs = _group_of(conv.out_channels, len(conv.latent_gates), closed).argsort(stable=True)
    per_group = conv.in_channels // groups
    with torch.no_grad():
        for group, rows in enumerate(outputs.view(groups, -1)):
            columns = inputs[group * per_group : (group + 1) * per_group]
            width = len(rows)
            hard.grouped.weight[group * width : (group + 1) * width] = conv.weight[rows][:, columns]
        if conv.bias is not None and hard.grouped.bias is not None:
            hard.grouped.bias.copy_(conv.bias[outputs])
        hard.input_order.copy_(inputs)
        hard.output_order.copy_(outputs.argsort())
    return hard.train(conv.training)


def _group_of(channels: int, gate_total: int, closed: list[int]) -> Tensor:
    """Group number of every channel: the bits of its core index at the closed gates, U_1 most significant."""
    core = torch.arange(channels) // (channels // 2**gate_total)
    group = torch.zeros_like(core)
    for k in closed:
        group = 2 * group + (core >> (gate_total - 1 - k)) % 2
    return group


@dataclass(frozen=True)
class DGConvMethod:
    """``dgconv``; ``hardened`` proposes 2^z groups, otherwise the one spec has open gates."""

    hardened: bool = False
    family: ClassVar[str] = "dgconv"
    name: ClassVar[str] = "dgconv"

    @property
    def has_choice(self) -> bool:
        """The number of groups is free once hardened."""
        return self.hardened

    def specs(self, shape: ConvShape, output_size: tuple[int, ...]) -> tuple[DGConvSpec, ...] | Refusal:
        """Open gates, or every power of two of groups (of finer groups, where there are some already)."""
        if shape.transposed:
            return Refusal("transposed convolution: DGConv groups ordinary ones")
        gates = gate_count(shape.in_channels // shape.groups, shape.out_channels // shape.groups)
        if gates == 0:
            reads, writes = shape.in_channels // shape.groups, shape.out_channels // shape.groups
            inside = "" if shape.groups == 1 else " in each group"
            return Refusal(f"{reads} and {writes} channels{inside} have no common factor 2")
        if not self.hardened:
            return _open_gates(shape)
        return tuple(DGConvSpec(groups=shape.groups * 2**z) for z in range(1, gates + 1))


def _open_gates(shape: ConvShape) -> tuple[DGConvSpec, ...] | Refusal:
    """Gates to be learned, for the convolutions that `DGConv` can be."""
    if len(shape.kernel) != 2:
        return Refusal("learnable gates exist for Conv2d only; with a target DGConv groups it at once")
    if shape.groups != 1:
        return Refusal("learnable gates exist for groups=1 only; with a target DGConv groups it more finely at once")
    if pads_by_itself(shape):
        return Refusal("learnable gates need a padding that Conv2d has; with a target DGConv groups it at once")
    return (DGConvSpec(),)


def parse_method(text: str) -> DGConvMethod | None:
    """Read ``dgconv``; None if the text is something else."""
    return DGConvMethod() if re.fullmatch("dgconv", text) else None
