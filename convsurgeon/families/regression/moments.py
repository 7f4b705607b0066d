"""Second moments of one site, accumulated batch by batch: all that a linear fit needs, whatever the image count.

With u the unfolded input patch [D = C_in·S], y the wanted output [C_out] and e = y − (W·u + b) what the original
weights leave of it on these inputs, a fit needs Cov(u, u) and Cov(e, u) only. Keeping e instead of y means that a ridge
shrinks a fit towards the original weights: no information means no correction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

__all__ = ["CHUNK_BYTES", "TINY", "Linear", "MomentSum", "Moments", "flat_mean"]

CHUNK_BYTES = 128 << 20
TINY = 1e-30
_FLAT = 0.1


@dataclass(frozen=True)
class Linear:
    """A convolution as a matrix: ``weight`` [C_out, C_in·S] and ``bias`` [C_out] on the CPU, float64 to fit with."""

    weight: Tensor
    bias: Tensor

    def like(self, values: Tensor) -> Linear:
        """In the dtype of ``values``."""
        return Linear(self.weight.to(values.dtype), self.bias.to(values.dtype))


@dataclass(frozen=True)
class Moments:
    """Means and (co)variances over ``count`` samples, on the CPU; float64 to fit with, float32 to compare fits by.

    ``uu`` [D, D] = Cov(u, u), ``eu`` [C_out, D] = Cov(e, u), ``ee`` and ``yy`` [C_out] = Var(e), Var(y); raw second
    moments instead where ``centred`` is False, because the fit has no bias to take the means.
    """

    count: int
    mean_u: Tensor
    mean_y: Tensor
    mean_e: Tensor
    uu: Tensor
    eu: Tensor
    ee: Tensor
    yy: Tensor
    centred: bool = True

    @classmethod
    def white(cls, inputs: int, outputs: int) -> Moments:
        """Unit covariance and no residual: what a fit on the weights alone assumes."""
        zeros = torch.zeros(outputs, dtype=torch.float64)
        return cls(
            count=0,
            mean_u=torch.zeros(inputs, dtype=torch.float64),
            mean_y=zeros,
            mean_e=zeros,
            uu=torch.eye(inputs, dtype=torch.float64),
            eu=torch.zeros(outputs, inputs, dtype=torch.float64),
            ee=zeros,
            yy=torch.ones(outputs, dtype=torch.float64),
        )

    def ridged(self, ridge: float) -> Moments:
        """With white pseudo-samples added that the original weights explain exactly: shrinks a fit towards them.

        ``ridge`` is their power relative to the mean input power; dead inputs get the same floor.
        """
        power = float(self.uu.diagonal().mean())
        floor = ridge * power if power > 0 else 1.0
        uu = self.uu.clone()
        uu.diagonal().add_(floor)
        return replace(self, uu=uu)

    def single(self) -> Moments:
        """As float32."""
        names = ("mean_u", "mean_y", "mean_e", "uu", "eu", "ee", "yy")
        return replace(self, **{name: getattr(self, name).float() for name in names})

    def errors(self, deviation: Tensor) -> Tensor:
        """E(y − ŷ)² [C_out] of a linear map whose weights are the original ones less ``deviation`` [C_out, D]."""
        return (self.ee + ((2 * self.eu + deviation @ self.uu) * deviation).sum(1)).clamp_(min=0)

    def relative_error(self, deviation: Tensor) -> float:
        """‖y − ŷ‖² / ‖y − mean(y)‖² of the same map."""
        return float(self.errors(deviation).sum()) / max(float(self.yy.sum()), TINY)

    def bias(self, original: Linear, weight: Tensor) -> Tensor:
        """The bias [C_out] that goes with ``weight`` [C_out, D] so that the means agree."""
        return original.bias + self.mean_e + (original.weight - weight) @ self.mean_u


class MomentSum:
    """Running sums; `add` samples, then take the `moments`.

    Channels that hardly differ between the first samples (a squeeze-and-excitation branch at the end of a deep network)
    are summed as deviations from those samples' mean: E(u·u) − E(u)·E(u) would leave rounding errors alone.
    """

    def __init__(self, original: Linear) -> None:
        outputs, inputs = original.weight.shape
        self.original, self.count = original, 0
        zeros = partial(torch.zeros, dtype=torch.float64)
        self._from_u, self._from_y, self._from_e = zeros(inputs), zeros(outputs), zeros(outputs)
        self._u, self._y, self._e = zeros(inputs), zeros(outputs), zeros(outputs)
        self._uu, self._eu = zeros(inputs, inputs), zeros(outputs, inputs)
        self._ee, self._yy = zeros(outputs), zeros(outputs)

    def add(self, u: Tensor, y: Tensor) -> None:
        """Add samples u [P, D] and y [P, C_out]."""
        first = not self.count and len(u) > 0
        if first:
            self._from_u, self._from_y = flat_mean(u), flat_mean(y)
        u, y = u - self._from_u.to(u), y - self._from_y.to(y)
        e = y - u @ self.original.weight.to(u).T
        left = self._from_y - self.original.weight @ self._from_u - self.original.bias
        if first:
            self._from_e = flat_mean(e + left.to(e))
        e += (left - self._from_e).to(e)
        self.count += len(u)
        self._u += _total(u)
        self._y += _total(y)
        self._e += _total(e)
        self._eu += (e.T @ u).to(self._eu)
        self._ee += _total(e.square())
        self._yy += _total(y.square())
        _add_gram(self._uu, u)

    def moments(self, *, centred: bool = True) -> Moments:
        """The moments, once: the sums become them, since a wide layer's take gigabytes."""
        n = max(1, self.count)
        off_u, off_y, off_e = self._u / n, self._y / n, self._e / n
        mean_u, mean_y, mean_e = self._from_u + off_u, self._from_y + off_y, self._from_e + off_e
        raw = 0.0 if centred else 1.0
        total, self._uu = self._uu, self._uu.new_zeros(0, 0)
        return Moments(
            count=self.count,
            mean_u=mean_u,
            mean_y=mean_y,
            mean_e=mean_e,
            uu=_mirrored(total.div_(n)).addr_(off_u, off_u, alpha=-1).addr_(mean_u, mean_u, alpha=raw),
            eu=(self._eu / n).addr_(off_e, off_u, alpha=-1).addr_(mean_e, mean_u, alpha=raw),
            ee=(self._ee / n - off_e.square()).clamp_(min=0) + raw * mean_e.square(),
            yy=(self._yy / n - off_y.square()).clamp_(min=0),
            centred=centred,
        )


def flat_mean(values: Tensor) -> Tensor:
    """The mean of those columns of values [P, n] that it drowns the spread of, else 0; in the values' own precision."""
    mean = values.mean(0, dtype=torch.float64)
    spread = (values - mean).square().mean(0).sqrt()
    return torch.where(spread < _FLAT * mean.abs(), mean, 0.0).to(values).double().cpu()


def _total(values: Tensor) -> Tensor:
    return values.sum(0, dtype=torch.float64).cpu()


def _mirrored(upper: Tensor, block: int = 1024) -> Tensor:
    """The symmetric matrix [D, D] whose upper triangle this is, in its place: a wide layer's takes gigabytes."""
    for start in range(0, len(upper), block):
        stop = min(start + block, len(upper))
        corner = upper[start:stop, start:stop].triu()
        upper[start:stop, start:stop] = corner + corner.triu(1).T
        upper[stop:, start:stop] = upper[start:stop, stop:].T
    return upper


def _add_gram(gram: Tensor, u: Tensor, blocks: int = 4) -> None:
    """Add uᵀu to the upper triangle of ``gram``; block by block, so that little of the lower half is computed."""
    width = -(-u.shape[1] // blocks)
    for start in range(0, u.shape[1], width):
        gram[start : start + width, start:] += (u[:, start : start + width].T @ u[:, start:]).to(gram)
