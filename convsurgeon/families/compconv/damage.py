"""The least that a CompConv unit can lose, told from a few images without fitting it.

So many of its outputs are copies of input channels, and so many are derived from one other output each by a depthwise
kernel. Where every copy and every derived output got its own best source, and the rest were exact, this is what would
be lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from convsurgeon.families.compconv.copies import Copies
from convsurgeon.families.compconv.spec import CompConvSpec
from convsurgeon.families.compconv.tail import TailMoments
from convsurgeon.families.regression.patches import same_size
from convsurgeon.families.regression.samples import Samples
from convsurgeon.families.torch_convs import Conv, conv_shape

__all__ = ["least_damages"]


def least_damages(
    conv: Conv, specs: Sequence[CompConvSpec], samples: Samples, *, norm_behind: bool
) -> dict[CompConvSpec, float]:
    """Of each unit in the place of ``conv``; all of them share two passes over the samples."""
    shape = conv_shape(conv)
    copies = Copies.of(samples, shape)
    as_copies = copies.lost(norm_behind=norm_behind).amin(1)
    # A bias or a norm takes the means, or else they are part of what is to be explained.
    centred = shape.bias or norm_behind
    power = copies.variance if centred else copies.y[1]
    derived = {
        kernel: power - _best_gains(conv, samples, kernel, centred=centred)
        for kernel in {spec.tail_kernel for spec in specs}
    }
    whole = max(float(copies.variance.sum()), 1e-30)
    return {
        spec: (
            _least(derived[spec.tail_kernel], spec.tail_channels(shape.out_channels))
            + _least(as_copies, spec.identity_channels)
        )
        / whole
        for spec in specs
    }


def _best_gains(conv: Conv, samples: Samples, kernel: tuple[int, ...], *, centred: bool) -> Tensor:
    """What each output's best source among the other outputs explains of it [C_out]."""
    outputs = conv.out_channels
    shape = same_size(conv_shape(conv), outputs, kernel)
    gains = TailMoments(samples, outputs, shape, conv, centred=centred).gains()
    return gains.fill_diagonal_(0).amax(0)


def _least(lost: Tensor, count: int) -> float:
    """The sum of the ``count`` smallest."""
    return float(lost.clamp(min=0).sort().values[:count].sum())
