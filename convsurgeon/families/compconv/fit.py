"""CompConv in closed form: outputs are dealt to its slots, then each stage is a least-squares fit on real features.

Four kinds of slots, worst first: copies of input channels (no freedom but the choice), the depthwise tail (k×k numbers
per output), the levels (dense, but on few features) and the primary convolution (exact rows of the dense fit). So the
copies go to the outputs that look most like an input channel, the primary slots to the outputs that say most about all
others, each level to the outputs it predicts best, and tail and B_0 to the pairs that lose least (a matching).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from convsurgeon.families.compconv.copies import Copies
from convsurgeon.families.compconv.damage import least_damages
from convsurgeon.families.compconv.pairing import best_pairs
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.compconv.tail import TailMoments
from convsurgeon.families.compconv.unit import CompConv
from convsurgeon.families.regression.dense_fit import DenseFit
from convsurgeon.families.regression.fitting import StagedFitting
from convsurgeon.families.regression.gathering import collect
from convsurgeon.families.regression.linear_algebra import factor, solve_right
from convsurgeon.families.regression.moments import Linear
from convsurgeon.families.regression.patches import same_size
from convsurgeon.families.regression.samples import Samples
from convsurgeon.families.torch_convs import Conv, conv_like

__all__ = ["FITTING", "telling"]

RIDGE = 1e-3
# What an output is thought to lose, relative to its variance, where it does not get the slot in question.
ELSEWHERE = 0.3


@dataclass(frozen=True)
class _Task:
    """What every stage needs: the unit, the samples, and the dense fit that they are cut from."""

    module: CompConv
    samples: Samples
    dense: DenseFit
    norm_behind: bool

    @property
    def centred(self) -> bool:
        """Whether means are taken by a bias."""
        return self.dense.centred

    def regress(self, features: Callable[[Tensor], Tensor], channels: int, outputs: Tensor) -> tuple[Linear, Tensor]:
        """Outputs [n] from k×k patches of a feature map: the inner convolution that fits, its error per output."""
        shape = same_size(self.module.shape, channels)
        nothing = torch.zeros(len(outputs), channels * shape.area, dtype=torch.float64)
        start = Linear(nothing, torch.zeros(len(outputs), dtype=torch.float64))
        moments = collect(self.samples.only(outputs), shape, start, features).fitted.moments(centred=self.centred)
        weight = solve_right(moments.eu, factor(moments.ridged(RIDGE).uu))
        bias = moments.bias(start, weight) if self.centred else start.bias
        return Linear(weight, bias), moments.errors(-weight)

    def tail(self, outputs: Tensor, channels: int, features: Callable[[Tensor], Tensor]) -> TailMoments:
        """Moments of outputs [n] against each of the ``channels`` of a feature map."""
        shape = same_size(self.module.shape, channels, self.module.spec.tail_kernel)
        return TailMoments(self.samples.only(outputs), len(outputs), shape, features, centred=self.centred)


class CompConvFitting(StagedFitting[CompConv, CompConvSpec]):
    """Outputs are dealt to slots, then each stage is fitted; d + 2 passes over the samples."""

    def least_damages(
        self, conv: Conv, specs: Sequence[CompConvSpec], samples: Samples, *, norm_behind: bool
    ) -> dict[CompConvSpec, float]:
        """See `damage`."""
        return least_damages(conv, specs, samples, norm_behind=norm_behind)

    def fit(self, unit: CompConv, dense: DenseFit, samples: Samples, *, norm_behind: bool) -> None:
        """Set every parameter and both orders."""
        _deal(_Task(unit, samples, dense, norm_behind))


FITTING = CompConvFitting()


def _deal(task: _Task) -> None:
    """Give every output a slot and every slot its weights."""
    module, covariance = task.module, task.dense.covariance
    rest = torch.arange(module.out_channels)
    slots: list[Tensor] = []
    if module.levels:
        copied, channels = _identity(task)
        module.identity_index.copy_(channels)
        rest = _without(rest, copied)
        primary = rest[telling(covariance[rest][:, rest], module.spec.primary_channels)]
        rest = _without(rest, primary)
        _put(module.primary, task.dense.linear, primary)
        slots, rest, errors, last = _levels(task, copied, primary, rest)
    else:
        errors, last = task.dense.errors, task.dense.linear
    computed, derived = _pair(task, rest, errors)
    _put(module.levels[-1] if module.levels else module.primary, last, computed)
    places = torch.cat([rest[derived], rest[computed], *slots])
    module.output_order.copy_(places.argsort())
    _fit_tail(task, rest[derived])


def _levels(task: _Task, copied: Tensor, primary: Tensor, rest: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Linear]:
    """Fit the levels, deepest first. The last one's outputs are left to the pairing with the tail.

    Returns the outputs in the slots so far (A_1 ⊕ B_1 ⊕ …), those still without one, and what the last level would
    make of them (errors [rest], convolution).
    """
    *inner, last = task.module.spec.level_channels()
    slots: list[Tensor] = []
    before = primary
    for depth, width in enumerate(inner):
        slots = [copied[: width // 2], before, *slots]
        copied = copied[width // 2 :]
        found, errors = task.regress(partial(_level_input, task.module, depth), width, rest)
        chosen = (errors - ELSEWHERE * task.dense.variance[rest]).argsort(stable=True)[:width].sort().values
        _put(task.module.levels[depth], found, chosen)
        before = rest[chosen]
        rest = _without(rest, before)
    found, errors = task.regress(partial(_level_input, task.module, len(inner)), last, rest)
    return [copied, before, *slots], rest, errors, found


def _level_input(module: CompConv, depth: int, x: Tensor) -> Tensor:
    """A ⊕ B that level ``depth`` (0 is the deepest) reads."""
    b = module.primary(x)
    for level, a in zip(module.levels, module.identity_slices(x), strict=True):
        both = torch.cat((a, b), dim=1)
        if depth == 0:
            return both
        b, depth = level(both), depth - 1
    return b


def _identity(task: _Task) -> tuple[Tensor, Tensor]:
    """Outputs to be copies and the input channels they copy, [p·(2^{d−1}−1)] each, input power decreasing."""
    copies = Copies.of(task.samples, task.module.shape)
    excess = (copies.lost(norm_behind=task.norm_behind) - ELSEWHERE * task.dense.variance[:, None]).numpy()
    rows, columns = linear_sum_assignment(excess)
    order = np.argsort(excess[rows, columns], kind="stable")[: task.module.spec.identity_channels]
    outputs, inputs = torch.from_numpy(rows[order]), torch.from_numpy(columns[order])
    strongest = copies.power[inputs].argsort(descending=True, stable=True)
    return outputs[strongest], inputs[strongest]


def telling(covariance: Tensor, count: int) -> Tensor:
    """Indices [count], ascending, of variables that together explain most of all: greedy, by explained variance.

    What the chosen ones leave of the covariance is kept as covariance − taken·takenᵀ, and of it only the diagonal and
    each column's sum of squares, so that a step costs one product with a vector.
    """
    power, squares = covariance.diagonal().clone(), covariance.square().sum(0)
    taken = covariance.new_zeros(len(covariance), count)
    # Above the rounding of the running sums, which a variable that is explained already must not win by.
    floor = 1e-8 * float(power.mean()) + 1e-30
    open_ones = torch.ones(len(covariance), dtype=torch.bool)
    for step in range(count):
        explained = (squares / power.clamp(min=floor)).where(open_ones, -torch.inf)
        best = int(explained.argmax())
        open_ones[best] = False
        before = taken[:, :step]
        column = covariance[:, best] - before @ before[best]
        column /= column[best].clamp(min=floor).sqrt()
        left = covariance @ column - before @ (before.T @ column)
        squares += column.square() * column.square().sum() - 2 * column * left
        power -= column.square()
        taken[:, step] = column
    return (~open_ones).nonzero().flatten()


def _without(rest: Tensor, taken: Tensor) -> Tensor:
    return rest[~torch.isin(rest, taken)]


def _pair(task: _Task, rest: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in ``rest`` that B_0 computes and that the tail derives, k-th from k-th."""
    derived = task.module.tail_channels
    if derived == 0:
        return torch.arange(len(rest)), torch.arange(0)
    wanted = Linear(task.dense.linear.weight[rest], task.dense.linear.bias[rest])
    conv = conv_like(task.module.shape, task.module.in_channels, len(rest), bias=True).to(task.module.primary.weight)
    _put(conv, wanted, torch.arange(len(rest)))
    stats = task.tail(rest, len(rest), lambda x: conv(x).detach())
    saved = errors - task.dense.variance[rest] + stats.gains()
    saved.fill_diagonal_(-torch.inf)
    sources, tails = best_pairs(saved.nan_to_num(neginf=-1e300).numpy(), len(rest) - derived)
    return torch.from_numpy(sources), torch.from_numpy(tails)


def _fit_tail(task: _Task, derived: Tensor) -> None:
    module = task.module
    if module.tail is None:
        return
    channels = module.tail_channels
    # The tail reads B_0.
    stats = task.tail(derived, channels, lambda x: _level_input(module, len(module.levels), x)[:, :channels])
    kernels = stats.kernels()
    if not task.centred:
        kernels = Linear(kernels.weight, torch.zeros_like(kernels.bias))
    _put(module.tail, kernels, torch.arange(channels))


def _put(conv: Any, linear: Linear, rows: Tensor) -> None:
    """Write chosen rows of a linear map into a convolution."""
    weight, bias = conv.weight, conv.bias
    with torch.no_grad():
        weight.copy_(linear.weight[rows].view(weight.shape))
        if bias is not None:
            bias.copy_(linear.bias[rows])
