"""DGConv while it learns, and hardened; see the family's spec for the paper."""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.families.channel_order import reordered
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.dgconv.grouping import variance_lost
from convsurgeon.families.dgconv.partition import Partition, partitions
from convsurgeon.families.dgconv.spec import DGConvSpec, gate_count
from convsurgeon.families.torch_convs import conv_like, conv_shape
from convsurgeon.families.unit import CompactConv, GatedConv

__all__ = ["UNIT", "DGConv", "HardenedDGConv", "harden", "relationship_matrix"]


class _Binarise(torch.autograd.Function):
    """(sign(x) + 1) / 2 forward, with sign(0) = 1; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, latent: Tensor) -> Tensor:
        return (latent >= 0).to(latent.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


class DGConv(GatedConv):
    """Trainable form: [N, C_in, H, W] → [N, C_out, H', W'], a dense convolution with weight U ⊙ ω.

    ``latent_gates`` [K] are the real numbers g̃; they start at 1 (open), where the output equals the plain
    convolution bit for bit. ``input_order`` [C_in] and ``output_order`` [C_out] list the channels in the order of U's
    columns and rows: a trained network's neighbours have nothing in common, so that U needs channels that do.
    """

    newer_buffers = ("leak", "input_order", "output_order")

    input_order: Tensor
    output_order: Tensor

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
        self.register_buffer("leak", torch.zeros(()))
        self.register_buffer("input_order", torch.arange(shape.in_channels))
        self.register_buffer("output_order", torch.arange(shape.out_channels))

    def gates(self) -> Tensor:
        """Binary gates [K], with a straight-through gradient."""
        gates: Tensor = _Binarise.apply(self.latent_gates)
        return gates

    def relationship(self) -> Tensor:
        """U [C_out, C_in], each entry at the channels that it stands for; the leak where gates are closed."""
        core = relationship_matrix(self.leak + (1 - self.leak) * self.gates())
        rows = self.output_order.argsort() // (self.out_channels // len(core))
        columns = self.input_order.argsort() // (self.in_channels // len(core))
        return core[rows][:, columns]

    def mask(self) -> Tensor:
        """U as [C_out, C_in, 1, 1]."""
        return self.relationship().view(self.out_channels, self.in_channels, 1, 1)

    def arrange(self, covariance: Tensor) -> None:
        """Halves, halves of halves and so on, as hardened DGConvs are grouped in closed form."""
        most = 2 ** len(self.latent_gates)
        own = self.weight.detach().double().cpu().flatten(2).square().sum(2)
        finest = partitions((own * covariance.diagonal()).numpy(), most, seed=0)[most]
        self.input_order.copy_(torch.from_numpy(finest.inputs).flatten())
        self.output_order.copy_(torch.from_numpy(finest.outputs).flatten())

    def lost(self, closed: Collection[int], covariance: Tensor) -> float:
        """See `variance_lost`."""
        return variance_lost(self.weight.detach().double().cpu(), covariance, self.partition(closed))

    def partition(self, closed: Collection[int]) -> Partition:
        """The groups that the channels fall into with these gates closed."""
        orders = (self.input_order.cpu(), self.output_order.cpu())
        inputs, outputs = (
            order[_group_of(len(order), len(self.latent_gates), closed).argsort(stable=True)].view(2 ** len(closed), -1)
            for order in orders
        )
        return Partition(inputs.numpy(), outputs.numpy())

    def harden(self) -> HardenedDGConv:
        """See `harden`."""
        return harden(self)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C_in, H, W] → [N, C_out, H', W']."""
        return self._conv_forward(input, self.weight * self.mask(), self.bias)


def relationship_matrix(gates: Tensor) -> Tensor:
    """U = U_1 ⊗ … ⊗ U_K as a [2^K, 2^K] matrix from gates [K]; differentiable in the gates."""
    eye, ones = torch.eye(2).to(gates), torch.ones(2, 2).to(gates)
    factors = [gate * ones + (1 - gate) * eye for gate in gates]
    return reduce(torch.kron, factors, torch.ones(1, 1).to(gates))


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

    Channels whose row of U is equal form a group: the bits of a channel's place in U at closed gates name it.
    """
    shape = conv_shape(conv)
    closed = [k for k, gate in enumerate(conv.gates().tolist()) if gate == 0]
    groups = 2 ** len(closed)
    hard = HardenedDGConv(shape, DGConvSpec(groups=groups)).to(conv.weight)
    found = conv.partition(closed)
    inputs, outputs = torch.from_numpy(found.inputs), torch.from_numpy(found.outputs)
    width = conv.out_channels // groups
    with torch.no_grad():
        for group, (rows, columns) in enumerate(zip(outputs, inputs, strict=True)):
            hard.grouped.weight[group * width : (group + 1) * width] = conv.weight[rows][:, columns]
        if conv.bias is not None and hard.grouped.bias is not None:
            hard.grouped.bias.copy_(conv.bias[outputs.flatten()])
        hard.input_order.copy_(inputs.flatten())
        hard.output_order.copy_(outputs.flatten().argsort())
    return hard.train(conv.training)


def _group_of(channels: int, gate_total: int, closed: Collection[int]) -> Tensor:
    """Group number of every place in U: the bits of its core index at the closed gates, U_1 most significant."""
    core = torch.arange(channels) // (channels // 2**gate_total)
    group = torch.zeros_like(core)
    for k in sorted(closed):
        group = 2 * group + (core >> (gate_total - 1 - k)) % 2
    return group


UNIT = HardenedDGConv
