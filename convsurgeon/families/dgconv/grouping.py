"""Hardened DGConv in closed form: the partition that keeps most activation-weighted energy, then a refit inside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from convsurgeon.families.dgconv.partition import Partition
from convsurgeon.families.regression.linear_algebra import factor_each, solve_right_each
from convsurgeon.families.regression.moments import Moments

__all__ = ["Grouped", "channel_energy", "group_fit", "variance_lost"]

# White power added to a covariance of channels, relative to their mean variance: few images say little.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Grouped:
    """A partition of the channels, and ``weights`` [G, C_out/G, C_in/G·S] inside its groups."""

    partition: Partition
    weights: Tensor
    area: int

    def composed(self) -> Tensor:
        """The one matrix [C_out, C_in·S] that the grouped convolution applies."""
        groups, outputs, columns = self.weights.shape
        whole = self.weights.new_zeros(groups * outputs, groups * columns)
        for rows, inputs, weight in zip(self.partition.outputs, self.partition.inputs, self.weights, strict=True):
            whole[torch.from_numpy(rows)[:, None], columns_of(inputs, self.area)] = weight
        return whole


def columns_of(channels: object, area: int) -> Tensor:
    """Columns [len·S] of ``channels`` in an unfolded patch."""
    return (torch.as_tensor(channels)[:, None] * area + torch.arange(area)).flatten()


def channel_energy(weight: Tensor, moments: Moments, area: int) -> Tensor:
    """Energy [C_out, C_in] that each input channel alone brings to each output: w_oiᵀ·Cov(u_i)·w_oi."""
    channels = weight.shape[1] // area
    kernels = weight.view(-1, channels, area)
    own = moments.uu.view(channels, area, channels, area).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    return torch.einsum("oca,cab,ocb->oc", kernels, own, kernels).clamp_(min=0)


def group_fit(found: Partition, cross: Tensor, moments: Moments) -> Grouped:
    """Least squares inside the groups for ``cross`` = Cov(y, u) [C_out, D].

    Inputs that fell to another group are made up for, as far as those inside are correlated with them.
    """
    area = cross.shape[1] // found.inputs.size
    columns = torch.stack([columns_of(inputs, area) for inputs in found.inputs])
    rows = torch.from_numpy(found.outputs)
    inside = moments.uu[columns[:, :, None], columns[:, None, :]]
    wanted = cross[rows[:, :, None], columns[:, None, :]]
    return Grouped(found, solve_right_each(wanted, factor_each(inside)), area)


def variance_lost(weight: Tensor, covariance: Tensor, partition: Partition) -> float:
    """The share of the outputs' variance that the groups can't make up for by other weights.

    ``weight`` [C_out, C_in, …] reads channels of ``covariance`` [C_in, C_in], which stands for all positions of the
    kernel: they are refitted one by one, so that nothing larger than the channels is kept while a network trains.
    """
    area = weight[0, 0].numel()
    moments = replace(Moments.white(len(covariance), len(weight) * area), uu=covariance).ridged(_RIDGE)
    rows = weight.flatten(2).transpose(1, 2).flatten(0, 1)
    outputs = (partition.outputs[:, :, None] * area + np.arange(area)).reshape(len(partition.outputs), -1)
    cross = rows @ moments.uu
    kept = group_fit(Partition(partition.inputs, outputs), cross, moments).composed()
    return float(1 - (kept * cross).sum() / (rows * cross).sum().clamp_(min=1e-300))
