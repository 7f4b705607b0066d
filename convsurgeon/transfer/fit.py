"""One compact module fitted to one convolution, in closed form."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import UsageError
from convsurgeon.base.generators import seeded
from convsurgeon.families import family_of
from convsurgeon.families.regression.assessment import assess
from convsurgeon.families.regression.dense_fit import DenseFit
from convsurgeon.families.regression.fitting import LinearFitting, StagedFitting
from convsurgeon.families.regression.gathering import collect, collect_groups
from convsurgeon.families.regression.moments import TINY, Linear, Moments
from convsurgeon.families.regression.patches import matrix
from convsurgeon.families.regression.problems import linears_of, parts_of, real_bias, unknowns_of
from convsurgeon.families.regression.samples import Samples, SiteData
from convsurgeon.families.torch_convs import Conv, conv_shape
from convsurgeon.families.unit import CompactConv, GatedConv
from convsurgeon.transfer.stand_in import own_copy

__all__ = ["FitResult", "dense_fit", "fit", "fit_samples", "linear_of", "ridge_for", "warning_of"]

LEAST_RIDGE = 1e-2
MOST_RIDGE = 1.0
SWEEPS = 4
DOUBTFUL = 2
NOISE_SIZE = 12
NOISE_SAMPLES_PER_UNKNOWN = 3


@dataclass(frozen=True)
class FitResult:
    """How well a module stands in for its convolution.

    ``error`` is ‖y − ŷ‖² / ‖y − mean(y)‖² on the inputs fitted on (None for a fit on the weights alone), ``samples``
    the positions fitted on, ``unknowns`` the weights per output of the convolution; too few samples for them give a
    ``warning``. Where a batch norm behind takes means and scales, ``scale``·ŷ + ``shift`` [C_out] is what it should
    see; both None otherwise.
    """

    error: float | None
    samples: int
    unknowns: int
    warning: str | None
    scale: Tensor | None = field(default=None, compare=False, repr=False)
    shift: Tensor | None = field(default=None, compare=False, repr=False)


def fit(module: nn.Module, conv: Conv, data: SiteData | None, *, seed: int = 0, norm_behind: bool = False) -> FitResult:
    """Write the parameters into ``module`` with which it comes nearest to ``conv`` on ``data``.

    Without data the fit assumes white inputs: the weights alone count. ``norm_behind`` says that a batch norm follows
    that takes up each output's mean (and CompConv's copies' scale), as the result's ``scale`` and ``shift``.

    Raises:
        UsageError: the module is no compact convolution, or stands for one of another shape.
    """
    samples = None if data is None else data.samples(_unknowns(conv), seed)
    return fit_samples(module, conv, samples, seed=seed, norm_behind=norm_behind)


def fit_samples(module: nn.Module, conv: Conv, samples: Samples | None, *, seed: int, norm_behind: bool) -> FitResult:
    """As `fit`, on samples drawn already."""
    if isinstance(module, GatedConv):
        return _copy(module, conv)
    if not isinstance(module, CompactConv):
        raise UsageError(f"a {type(module).__name__} can't be fitted; expected a compact convolution.")
    if module.shape != conv_shape(conv):
        raise UsageError(
            f"the module stands for {module.shape.describe()}, the convolution is {conv_shape(conv).describe()}; "
            "build it from this convolution's shape."
        )
    fitting = family_of(module.spec).fitting()
    with torch.no_grad(), seeded(seed):
        if isinstance(fitting, LinearFitting):
            return _fit_linear(fitting, module, conv, samples, seed, norm_behind)
        if samples is None:
            return _fit_stages_blindly(fitting, module, conv, seed)
        return _fit_by_stages(fitting, module, conv, samples, norm_behind=norm_behind)


def linear_of(conv: Conv) -> Linear:
    """The convolution as one dense matrix [C_out, C_in·S] and a bias (zeros if it has none)."""
    weight = matrix(conv.weight, getattr(conv, "groups", 1))
    bias = torch.zeros(len(weight)) if conv.bias is None else conv.bias.detach()
    return Linear(weight, bias.to("cpu", torch.float64))


def ridge_for(samples: int, unknowns: int) -> float:
    """White pseudo-power to add, relative to the mean input power: grows as samples get scarce."""
    return min(MOST_RIDGE, LEAST_RIDGE * max(1.0, 2 * unknowns / max(1, samples)))


def _unknowns(conv: Conv) -> int:
    return unknowns_of(conv_shape(conv))


def _copy(module: GatedConv, conv: Conv) -> FitResult:
    """Open gates: the convolution itself."""
    with torch.no_grad():
        module.weight.copy_(conv.weight)
        if module.bias is not None and conv.bias is not None:
            module.bias.copy_(conv.bias)
    return FitResult(0.0, 0, _unknowns(conv), None)


def _fit_linear(
    fitting: LinearFitting[Any, Any],
    module: CompactConv,
    conv: Conv,
    samples: Samples | None,
    seed: int,
    norm_behind: bool,
) -> FitResult:
    """Every group of the convolution by itself."""
    shape, unknowns = module.shape, unknowns_of(module.shape)
    parts, originals = parts_of(module), linears_of(conv, shape)
    if samples is None:
        for part, original in zip(parts, originals, strict=True):
            fitting.solve(part, original.weight, _white(original), seed=seed, sweeps=0).write()
        fitting.join(module, parts)
        fitting.write_bias(module, torch.cat([real_bias(shape, o.bias, o.bias) for o in originals]))
        return FitResult(None, 0, unknowns, None)
    centred = shape.bias or norm_behind
    moments = [c.fitted.moments(centred=centred) for c in collect_groups(samples, shape, originals)]
    fits = [_fit_part(fitting, *each, seed) for each in zip(parts, originals, moments, strict=True)]
    fitting.join(module, parts)
    bias = torch.cat([real_bias(shape, moved, o.bias) for (_, moved), o in zip(fits, originals, strict=True)])
    fitting.write_bias(module, bias)
    return FitResult(
        error=sum(lost for lost, _ in fits) / max(sum(float(m.yy.sum()) for m in moments), TINY),
        samples=moments[0].count,
        unknowns=unknowns,
        warning=warning_of(moments[0].count, unknowns),
        shift=bias if norm_behind and not shape.bias else None,
    )


def _white(original: Linear) -> Moments:
    outputs, unknowns = original.weight.shape
    return Moments.white(unknowns, outputs)


def _fit_part(
    fitting: LinearFitting[Any, Any], part: CompactConv, original: Linear, moments: Moments, seed: int
) -> tuple[float, Tensor]:
    """Fit one group; what it loses, and the bias that its linear problem should have."""
    unknowns = original.weight.shape[1]
    ridged = moments.ridged(ridge_for(moments.count, unknowns))
    tried = [fitting.solve(part, original.weight, ridged, seed=seed, sweeps=SWEEPS)]
    if moments.count < DOUBTFUL * unknowns:
        # A ridge strong enough for few samples may lose to the plain weights on them: then those stand.
        tried.append(fitting.solve(part, original.weight, _white(original), seed=seed, sweeps=0))
    lost = [float(moments.errors(original.weight - one.weight).sum()) for one in tried]
    found = tried[lost.index(min(lost))]
    found.write()
    return min(lost), moments.bias(original, found.weight) if moments.centred else original.bias


def dense_fit(conv: Conv, moments: Moments) -> DenseFit:
    """What fits by stages start from; one for all units of a site with these ``moments``."""
    return DenseFit.of(linear_of(conv), moments, ridge_for(moments.count, _unknowns(conv)))


def _fit_by_stages(
    fitting: StagedFitting[Any, Any],
    module: CompactConv,
    conv: Conv,
    samples: Samples,
    *,
    norm_behind: bool,
) -> FitResult:
    """Fit a unit on real feature maps, in float32 whatever its dtype."""
    seen, centred = samples.single(), module.shape.bias or norm_behind
    moments = collect(seen, module.shape, linear_of(conv)).fitted.moments(centred=centred)
    work = _write_stages(fitting, module, dense_fit(conv, moments), seen, norm_behind=norm_behind)
    found = assess(work, seen)
    scale = found.scale if norm_behind else None
    shift = found.shift if norm_behind else None
    return FitResult(
        error=found.relative_error(scale, shift),
        samples=moments.count,
        unknowns=_unknowns(conv),
        warning=warning_of(moments.count, _unknowns(conv)),
        scale=scale,
        shift=shift,
    )


def _write_stages(
    fitting: StagedFitting[Any, Any], module: CompactConv, dense: DenseFit, seen: Samples, *, norm_behind: bool
) -> CompactConv:
    """Fit a float32 copy on float32 samples and write it into ``module``; the copy comes back."""
    work = own_copy(module).float()
    fitting.fit(work, dense, seen, norm_behind=norm_behind)
    module.load_state_dict(work.state_dict())
    return work


def _fit_stages_blindly(fitting: StagedFitting[Any, Any], module: CompactConv, conv: Conv, seed: int) -> FitResult:
    noise = _noise(conv, seed)
    moments = collect(noise, module.shape, linear_of(conv)).fitted.moments(centred=module.shape.bias)
    _write_stages(fitting, module, dense_fit(conv, moments), noise, norm_behind=False)
    return FitResult(None, 0, _unknowns(conv), None)


def _noise(conv: Conv, seed: int) -> Samples:
    """White noise through the convolution, for stages that need maps."""
    work, device = copy.deepcopy(conv).float(), conv.weight.device
    shape = conv_shape(conv)
    size = [max(NOISE_SIZE, d * (k - 1) + 1) for k, d in zip(shape.kernel, shape.dilation, strict=True)]
    with seeded(seed), torch.no_grad():
        one = work(torch.randn(1, conv.in_channels, *size).to(device))
        images = max(8, NOISE_SAMPLES_PER_UNKNOWN * _unknowns(conv) // max(1, one[0, 0].numel()))
        x = torch.randn(images, conv.in_channels, *size).to(device)
        return SiteData.of([(part, work(part)) for part in torch.split(x, 32)]).samples(_unknowns(conv), seed)


def warning_of(samples: int, unknowns: int) -> str | None:
    """What to say where there are fewer samples than unknowns."""
    if samples >= unknowns:
        return None
    return (
        f"{samples:,} samples for {unknowns:,} unknowns per output: the fit leans on the original weights; "
        f"about {unknowns / max(1, samples):.0f}× as many calibration inputs would carry it"
    )
