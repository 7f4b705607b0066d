"""IGC in closed form: one low-rank regression per primary partition, swept until the partitions agree.

A secondary partition's outputs are Σ_l Q_l·P_l·u_l, where u_l are the patches of primary partition l.
One block is the best rank-r map of the whitened problem (its eigenvectors); all blocks together have no closed form,
because partitions see correlated inputs. So each block in turn is solved exactly for what the others leave
(block coordinate descent: the error on the fit samples never rises), and in the end the secondary convolution is the
least-squares solution on all mid features at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from convsurgeon.families.regression.linear_algebra import factor, solve_right, strongest
from convsurgeon.families.regression.patches import block_diagonal

__all__ = ["Blocks", "Factors", "descend", "factorise", "separate_blocks", "through"]


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
    """The input covariance [D, D], cut into L equal ``partitions`` of the inputs."""

    covariance: Tensor
    partitions: int

    @property
    def cuts(self) -> list[slice]:
        """The inputs of each partition."""
        width = len(self.covariance) // self.partitions
        return [slice(i * width, (i + 1) * width) for i in range(self.partitions)]

    @cached_property
    def lower(self) -> list[Tensor]:
        """Cholesky factors of the diagonal blocks: computed when first asked for, since one wide block needs none."""
        return [factor(self.covariance[cut, cut]) for cut in self.cuts]

    def nearest(self, part: int, wanted: Tensor, crossed: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """Best map Q·P of rank ``rank``, [C, r] and [r, D/L], to ``wanted`` [C, D/L] on one partition's inputs.

        Minimises E‖(wanted − Q·P)·u‖²; strongest direction first, so that a smaller rank is a prefix. ``crossed`` is
        wanted·Cov. Solved by the eigenvectors of wanted·Cov·wantedᵀ, or of lowerᵀ·wantedᵀ·wanted·lower where the
        inputs are fewer.
        """
        if wanted.shape[1] >= len(wanted):
            vectors = strongest(wanted @ crossed.T, rank)
            return vectors, vectors.T @ wanted
        lower = self.lower[part]
        scaled = wanted @ lower
        vectors = strongest(scaled.T @ scaled, rank)
        return scaled @ vectors, torch.linalg.solve_triangular(lower.T, vectors, upper=True).T


def factorise(
    weight: Tensor, cross: Tensor, blocks: Blocks, *, secondary_groups: int, mid_channels: int, sweeps: int
) -> Factors:
    """The factors that come nearest to the wanted outputs, started at ``weight`` [C_out, D].

    ``cross`` [C_out, D] = Cov(y, u) with the wanted outputs y. Outputs o with equal o mod M form a secondary
    partition, as the unit's second permutation has it.
    """
    each = mid_channels // blocks.partitions // secondary_groups
    primary = weight.new_zeros(blocks.partitions, secondary_groups, each, weight.shape[1] // blocks.partitions)
    secondary = weight.new_zeros(len(weight), blocks.partitions, secondary_groups, each)
    for m in range(secondary_groups):
        rows = slice(m, None, secondary_groups)
        start = separate_blocks(weight[rows], blocks, each)
        primary[:, m], secondary[rows, :, m] = descend(cross[rows], blocks, start, sweeps)
    return Factors(primary.flatten(1, 2), secondary.flatten(1))


def separate_blocks(weight: Tensor, blocks: Blocks, rank: int) -> tuple[Tensor, Tensor]:
    """Every partition's best low-rank map by itself: primary [L, r, D/L] and secondary [C_out, L, r].

    Strongest direction first; zeros beyond the rank that a block can have.
    """
    primary = weight.new_zeros(blocks.partitions, rank, weight.shape[1] // blocks.partitions)
    secondary = weight.new_zeros(len(weight), blocks.partitions, rank)
    for part, cut in enumerate(blocks.cuts):
        wanted = weight[:, cut]
        behind, ahead = blocks.nearest(part, wanted, wanted @ blocks.covariance[cut, cut], rank)
        primary[part, : len(ahead)] = ahead
        secondary[:, part, : len(ahead)] = behind
    return primary, secondary


def through(primary: Tensor, rows: Tensor) -> Tensor:
    """``rows`` [n, D] through the primary convolution [L, r, D/L]: [n, L·r]."""
    parts = zip(rows.chunk(len(primary), dim=1), primary, strict=True)
    return torch.cat([part @ block.T for part, block in parts], dim=1)


def descend(cross: Tensor, blocks: Blocks, start: tuple[Tensor, Tensor], sweeps: int) -> tuple[Tensor, Tensor]:
    """One secondary partition: solve every block in turn for what the others leave, then the secondary for all.

    ``start`` and the result are primary [L, r, D/L] and secondary [C, L, r]; ``cross`` is [C, D]. The blocks'
    covariance is a ridged one: what is left of ``cross`` is solved for outright.
    """
    primary, secondary = (factors.clone() for factors in start)
    # Cov(mid, u): its ranks are few, so that what the blocks explain is never multiplied out at full width.
    mid_inputs = torch.stack([primary[part] @ blocks.covariance[cut] for part, cut in enumerate(blocks.cuts)])
    for part, cut in list(enumerate(blocks.cuts)) * sweeps:
        explained = secondary.flatten(1) @ mid_inputs[:, :, cut].flatten(0, 1)
        left = cross[:, cut] - explained + secondary[:, part] @ mid_inputs[part, :, cut]
        behind, ahead = blocks.nearest(part, solve_right(left, blocks.lower[part]), left, primary.shape[1])
        secondary[:, part].zero_()[:, : len(ahead)] = behind
        primary[part].zero_()[: len(ahead)] = ahead
        torch.mm(primary[part], blocks.covariance[cut], out=mid_inputs[part])
    mid = through(primary, mid_inputs.flatten(0, 1))
    secondary = solve_right(through(primary, cross), factor((mid + mid.T) / 2)).view_as(secondary)
    return primary, secondary
