"""What else a user could do to a trained network, at the same MACs and without training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.inputs import as_inputs
from convsurgeon.survey.counting import count

__all__ = ["low_rank", "pruned", "spatial_svd", "tucker2"]

STEPS = 40

Factored = Callable[[float], nn.Sequential]


def spatial_svd(model: nn.Module, example: Any, share: float) -> nn.Module:
    """Every k×k convolution (k > 1) but the first as k×1 then 1×k, the best approximation of its weights alone.

    Jaderberg, Vedaldi, Zisserman, BMVC 2014, arXiv 1405.3866, scheme 2. One share of the rank for all layers, the
    largest that keeps at most ``share`` of the model's MACs.
    """
    return _factorised(model, example, share, _spatial)


def tucker2(model: nn.Module, example: Any, share: float) -> nn.Module:
    """Every k×k convolution (k > 1) but the first as 1×1, thin k×k, 1×1: truncated HOSVD over its channels, by weights.

    Kim et al., ICLR 2016, arXiv 1511.06530. One share of both ranks for all layers, as in ``spatial_svd``.
    """
    return _factorised(model, example, share, _tucker2)


def low_rank(model: nn.Module, example: Any, share: float) -> nn.Module:
    """Every convolution but the first as a thinner one and a 1×1: the truncated SVD of its weights, 1×1 kernels too.

    Denton et al., NeurIPS 2014, arXiv 1404.0736. One share of the rank for all layers, as in ``spatial_svd``.
    """
    return _factorised(model, example, share, _low_rank, pointwise=True)


def _factorised(
    model: nn.Module,
    example: Any,
    share: float,
    factors: Callable[[nn.Conv2d], Factored],
    *,
    pointwise: bool = False,
) -> nn.Module:
    convs = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    dense = [(name, conv) for name, conv in convs[1:] if conv.groups == 1]
    found = {name: factors(conv) for name, conv in dense if pointwise or conv.kernel_size != (1, 1)}

    def make(kept: float) -> nn.Module:
        new = copy.deepcopy(model)
        for name, factored in found.items():
            parent, _, child = name.rpartition(".")
            setattr(new.get_submodule(parent), child, factored(kept))
        return new

    return _largest_within(make, model, example, share)


def _spatial(conv: nn.Conv2d) -> Factored:
    outputs, inputs, height, width = conv.weight.shape
    matrix = conv.weight.detach().permute(1, 2, 0, 3).reshape(inputs * height, outputs * width)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    (stride_h, stride_w), (dilation_h, dilation_w) = conv.stride, conv.dilation
    pad_h, pad_w = _padding(conv)

    def factored(kept: float) -> nn.Sequential:
        rank = max(1, round(kept * len(values)))
        root = values[:rank].sqrt()
        first = nn.Conv2d(inputs, rank, (height, 1), (stride_h, 1), (pad_h, 0), dilation=(dilation_h, 1), bias=False)
        second = nn.Conv2d(rank, outputs, (1, width), (1, stride_w), (0, pad_w), dilation=(1, dilation_w))
        with torch.no_grad():
            first.weight.copy_((left[:, :rank] * root).T.reshape(rank, inputs, height, 1))
            second.weight.copy_((root[:, None] * right[:rank]).reshape(rank, outputs, 1, width).transpose(0, 1))
        second.bias = copy.deepcopy(conv.bias)
        return nn.Sequential(first, second)

    return factored


def _tucker2(conv: nn.Conv2d) -> Factored:
    outputs, inputs = conv.weight.shape[:2]
    weight = conv.weight.detach()
    behind = torch.linalg.svd(weight.flatten(1), full_matrices=False).U
    ahead = torch.linalg.svd(weight.transpose(0, 1).flatten(1), full_matrices=False).U
    core = torch.einsum("oihw,or,is->rshw", weight, behind, ahead)
    padding = _padding(conv)

    def factored(kept: float) -> nn.Sequential:
        narrow, wide = max(1, round(kept * inputs)), max(1, round(kept * outputs))
        first = nn.Conv2d(inputs, narrow, 1, bias=False)
        thin = nn.Conv2d(narrow, wide, conv.kernel_size, conv.stride, padding, conv.dilation, bias=False)
        last = nn.Conv2d(wide, outputs, 1)
        with torch.no_grad():
            first.weight.copy_(ahead[:, :narrow].T[:, :, None, None])
            thin.weight.copy_(core[:wide, :narrow])
            last.weight.copy_(behind[:, :wide, None, None])
        last.bias = copy.deepcopy(conv.bias)
        return nn.Sequential(first, thin, last)

    return factored


def _low_rank(conv: nn.Conv2d) -> Factored:
    left, values, right = torch.linalg.svd(conv.weight.detach().flatten(1), full_matrices=False)

    def factored(kept: float) -> nn.Sequential:
        rank = max(1, round(kept * len(values)))
        # A copy, since subclasses pad in a way of their own.
        first, second = copy.deepcopy(conv), nn.Conv2d(rank, conv.out_channels, 1)
        first.out_channels, first.bias = rank, None
        first.weight = nn.Parameter(right[:rank].view(rank, *conv.weight.shape[1:]))
        with torch.no_grad():
            second.weight.copy_((left[:, :rank] * values[:rank])[:, :, None, None])
        second.bias = copy.deepcopy(conv.bias)
        return nn.Sequential(first, second)

    return factored


def _padding(conv: nn.Conv2d) -> tuple[int, ...]:
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        raise convsurgeon.UsageError(f"this rival knows zeros given in numbers, not padding {conv.padding!r}")
    return conv.padding


def pruned(
    model: nn.Module,
    example: Any,
    share: float,
    *,
    whole: Collection[str],
    gradients: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Torch-Pruning as its documentation shows it: importance over dependency groups, global.

    By Taylor importance where there are ``gradients`` of parameters by name, else by the norm of the weights. Layers
    named in ``whole`` keep their outputs. Batch norm keeps its statistics, since no training follows. The channel ratio
    is the smallest that keeps at most ``share`` of the MACs.
    """

    def make(kept: float) -> nn.Module:
        return _pruned(model, example, 1 - kept, whole, gradients)

    return _largest_within(make, model, example, share)


def _pruned(
    model: nn.Module, example: Any, ratio: float, whole: Collection[str], gradients: Mapping[str, Tensor] | None
) -> nn.Module:
    import torch_pruning as tp

    new = copy.deepcopy(model)
    for name, parameter in new.named_parameters():
        gradient = (gradients or {}).get(name)
        parameter.grad = None if gradient is None else gradient.clone()
    by = tp.importance.GroupMagnitudeImportance if gradients is None else tp.importance.GroupTaylorImportance
    pruner = tp.pruner.BasePruner(
        new,
        example,
        importance=by(),
        pruning_ratio=ratio,
        ignored_layers=[new.get_submodule(name) for name in whole],
        global_pruning=True,
        max_pruning_ratio=0.9,
    )
    pruner.step()
    return new.eval()


def _largest_within(make: Callable[[float], nn.Module], model: nn.Module, example: Any, share: float) -> nn.Module:
    """The least changed network that keeps at most ``share`` of the MACs, by bisection over what is kept."""
    inputs = as_inputs(example)
    limit = share * count(model, inputs).macs
    low, high, best = 0.0, 1.0, None
    for _ in range(STEPS):
        middle = (low + high) / 2
        candidate = make(middle)
        if count(candidate, inputs).macs <= limit:
            low, best = middle, candidate
        else:
            high = middle
        if high - low < 1e-3 and best is not None:
            break
    if best is None:
        raise convsurgeon.UsageError(f"no share of this rival keeps at most {limit:,.0f} MACs")
    return best
