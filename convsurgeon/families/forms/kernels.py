"""Kernels composed in float64: grouped ones written out, several groups joined, two convolutions as one."""

from __future__ import annotations

import torch
from torch import Tensor

from convsurgeon.families.torch_convs import Conv

__all__ = ["BLOCK", "bias_of", "blocks", "coarser_groups", "kernel_of", "over", "regrouped", "written_out"]


# Channels that fill a vector register of single precision on AVX-512; runtimes lay channels out in such blocks.
BLOCK = 16


def blocks(channels: int) -> int:
    """A width rounded up to whole blocks."""
    return -(-channels // BLOCK) * BLOCK


def kernel_of(conv: Conv) -> Tensor:
    """The weights in float64."""
    return conv.weight.detach().double()


def bias_of(conv: Conv) -> Tensor:
    """The bias in float64, or zeros."""
    like = conv.weight.detach()
    return like.new_zeros(len(like), dtype=torch.float64) if conv.bias is None else conv.bias.detach().double()


def over(channels: Tensor, axes: int) -> Tensor:
    """[C] shaped to multiply the first of ``axes`` axes."""
    return channels.view(-1, *(1,) * (axes - 1))


def regrouped(kernel: Tensor, groups: int, wanted: int) -> Tensor:
    """A kernel of ``groups`` groups as one of fewer, with zeros between those that are joined."""
    outputs, per_group = kernel.shape[:2]
    joined = groups // wanted
    new = kernel.new_zeros(outputs, per_group * joined, *kernel.shape[2:])
    rows = outputs // groups
    for group in range(groups):
        at = group % joined * per_group
        new[group * rows : (group + 1) * rows, at : at + per_group] = kernel[group * rows : (group + 1) * rows]
    return new


def written_out(kernel: Tensor, groups: int) -> Tensor:
    """A grouped kernel as a dense one."""
    return regrouped(kernel, groups, 1)


def coarser_groups(groups: int, per_group: int, lanes: int = BLOCK) -> list[int]:
    """Fewer groups worth trying: joined until a group fills one, or two, vector registers of channels; or none."""
    wanted = {1}
    for width in (lanes, 2 * lanes):
        joined = -(-width // per_group)
        if groups % joined == 0:
            wanted.add(groups // joined)
    return sorted((g for g in wanted if g < groups), reverse=True)
