"""IGC in closed form: one low-rank regression per primary partition, swept until the partitions agree.

A secondary partition's outputs are Σ_l Q_l·P_l·u_l, where u_l are the patches of primary partition l.
One block is the best rank-r map of the whitened problem (its eigenvectors); all blocks together have no closed form,
because partitions see correlated inputs. So each block in turn is solved exactly for what the others leave
(block coordinate descent: the error on the fit samples never rises), and in the end the secondary convolution is the
least-squares solution on all mid features at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convsurgeon.inherit.linear_algebra import factor, solve_right, truncate
from convsurgeon.inherit.moments import Moments
from convsurgeon.inherit.patches import block_diagonal

__all__ = ["Blocks", "Factors", "factorise", "separate_blocks", "through"]


@dataclass(frozen=True)
class Factors:
    """``primary`` [L, C_mid/L, D/L] and ``secondary`` [C_out, C_mid] (dense; zeros outside each output's partition)."""

    primary: Tensor
    secondary: Tensor

    def composed(self) -> Tensor:
        """The one matrix [C_out, D] that the unit applies."""
        return self.secondary @ block_diagonal(self.primary)


@dataclass(frozen=True)
class Blocks:
    """The input covariance and its diagonal blocks' Cholesky factors, for L equal partitions of the inputs."""

    covariance: Tensor
    lower: tuple[Tensor, ...]

    @classmethod
    def of(cls, covariance: Tensor, partitions: int) -> Blocks:
        """Cut [D, D] into ``partitions``."""
        width = len(covariance) // partitions
        cuts = [slice(i * width, (i + 1) * width) for i in range(partitions)]
        return cls(covariance, tuple(factor(covariance[cut, cut]) for cut in cuts))

    @property
    def cuts(self) -> list[slice]:
        """The inputs of each partition."""
        width = len(self.covariance) // len(self.lower)
        return [slice(i * width, (i + 1) * width) for i in range(len(self.lower))]


def factorise(
    weight: Tensor,
    moments: Moments,
    blocks: Blocks,
    *,
    secondary_groups: int,
    mid_channels: int,
    sweeps: int,
) -> Factors:
    """The factors nearest to ``weight`` [C_out, D] plus what the moments say is missing from it.

    Outputs o with equal o mod M form a secondary partition, as the unit's second permutation has it.
    """
    partitions, width = len(blocks.lower), weight.shape[1] // len(blocks.lower)
    each = mid_channels // partitions // secondary_groups
    primary = weight.new_zeros(partitions, secondary_groups, each, width)
    secondary = weight.new_zeros(len(weight), partitions, secondary_groups, each)
    for m in range(secondary_groups):
        rows = slice(m, None, secondary_groups)
        descent = _Descent(weight[rows], moments.eu[rows], blocks, each)
        for _ in range(sweeps):
            descent.sweep()
        descent.refit_secondary()
        primary[:, m] = descent.primary
        secondary[rows, :, m] = descent.secondary.transpose(0, 1)
    return Factors(primary.flatten(1, 2), secondary.flatten(1))


def separate_blocks(weight: Tensor, blocks: Blocks, rank: int) -> tuple[Tensor, Tensor]:
    """Every partition's best low-rank map by itself: primary [L, r, D/L] and secondary [L, C_out, r].

    Strongest direction first; zeros beyond the rank that a block can have.
    """
    partitions, width = len(blocks.lower), weight.shape[1] // len(blocks.lower)
    primary = weight.new_zeros(partitions, rank, width)
    secondary = weight.new_zeros(partitions, len(weight), rank)
    for part, cut in enumerate(blocks.cuts):
        behind, ahead = truncate(weight[:, cut], blocks.covariance[cut, cut], blocks.lower[part], rank)
        primary[part, : len(ahead)] = ahead
        secondary[part, :, : len(ahead)] = behind
    return primary, secondary


def through(primary: Tensor, rows: Tensor) -> Tensor:
    """``rows`` [n, D] through the primary convolution [L, r, D/L]: [n, L·r]."""
    parts = zip(rows.chunk(len(primary), dim=1), primary, strict=True)
    return torch.cat([part @ block.T for part, block in parts], dim=1)


class _Descent:
    """One secondary partition: blocks Q_l·P_l, and ``gap`` = Cov(y − ŷ, u), which a perfect fit makes zero."""

    def __init__(self, weight: Tensor, eu: Tensor, blocks: Blocks, rank: int) -> None:
        self.blocks = blocks
        self.rank = rank
        self.primary, self.secondary = separate_blocks(weight, blocks, rank)
        self.gap = eu + (weight - self._composed()) @ blocks.covariance

    def _set(self, part: int, secondary: Tensor, primary: Tensor) -> None:
        kept = len(primary)
        self.secondary[part].zero_()[:, :kept] = secondary
        self.primary[part].zero_()[:kept] = primary

    def _block(self, part: int) -> Tensor:
        return self.secondary[part] @ self.primary[part]

    def _composed(self) -> Tensor:
        return torch.cat([self._block(part) for part in range(len(self.primary))], dim=1)

    def sweep(self) -> None:
        """Solve every block once for what the others leave."""
        covariance = self.blocks.covariance
        for part, cut in enumerate(self.blocks.cuts):
            before, lower = self._block(part), self.blocks.lower[part]
            wanted = before + solve_right(self.gap[:, cut], lower)
            self._set(part, *truncate(wanted, covariance[cut, cut], lower, self.rank))
            self.gap += (before - self._block(part)) @ covariance[cut]

    def refit_secondary(self) -> None:
        """Least squares of all outputs on all mid features, as a correction of the present secondary."""
        mid_inputs = through(self.primary, self.blocks.covariance).T
        mid, cross = through(self.primary, mid_inputs), through(self.primary, self.gap)
        correction = solve_right(cross, factor((mid + mid.T) / 2))
        self.secondary += correction.view(-1, *self.primary.shape[:2]).transpose(0, 1)
        self.gap -= correction @ mid_inputs
