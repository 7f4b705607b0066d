"""What else a user could do to the trained network, at the same MACs and without training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import convsurgeon
from convsurgeon.base.inputs import as_inputs
from convsurgeon.survey.counting import count

__all__ = ["spatial_svd", "torch_pruning"]

STEPS = 40


def spatial_svd(model: nn.Module, example: Tensor, share: float) -> nn.Module:
    """Every k×k convolution (k > 1) but the first as k×1 then 1×k, the best approximation of its weights alone.

    Jaderberg, Vedaldi, Zisserman, BMVC 2014, arXiv 1405.3866, scheme 2. One share of the rank for all layers, the
    largest that keeps at most ``share`` of the model's MACs.
    """
    limit = share * count(model, as_inputs(example)).macs
    return _largest_within(lambda kept: _with_spatial_svd(model, kept), example, limit)


def _with_spatial_svd(model: nn.Module, kept: float) -> nn.Module:
    new = copy.deepcopy(model)
    convs = [(name, conv) for name, conv in new.named_modules() if isinstance(conv, nn.Conv2d)]
    for name, conv in convs[1:]:
        if conv.kernel_size != (1, 1):
            parent, _, child = name.rpartition(".")
            setattr(new.get_submodule(parent), child, _factors(conv, kept))
    return new


def _factors(conv: nn.Conv2d, kept: float) -> nn.Sequential:
    outputs, inputs, height, width = conv.weight.shape
    matrix = conv.weight.detach().permute(1, 2, 0, 3).reshape(inputs * height, outputs * width)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = max(1, round(kept * len(values)))
    (pad_h, pad_w), (stride_h, stride_w) = conv.padding, conv.stride
    first = nn.Conv2d(inputs, rank, (height, 1), (stride_h, 1), (pad_h, 0), bias=False)
    second = nn.Conv2d(rank, outputs, (1, width), (1, stride_w), (0, pad_w), bias=conv.bias is not None)
    root = values[:rank].sqrt()
    with torch.no_grad():
        first.weight.copy_((left[:, :rank] * root).T.reshape(rank, inputs, height, 1))
        second.weight.copy_((root[:, None] * right[:rank]).reshape(rank, outputs, 1, width).transpose(0, 1))
        if conv.bias is not None and second.bias is not None:
            second.bias.copy_(conv.bias)
    return nn.Sequential(first, second)


def torch_pruning(model: nn.Module, example: Tensor, share: float, images: Tensor, labels: Tensor) -> nn.Module:
    """Torch-Pruning as its documentation shows it: Taylor importance over dependency groups, global, classifier kept.

    The gradients come from ``images`` and their labels; batch norm keeps its statistics, since no training follows.
    The channel ratio is the smallest that keeps at most ``share`` of the MACs.
    """
    limit = share * count(model, as_inputs(example)).macs
    scored = copy.deepcopy(model)
    for batch, wanted in zip(images.split(256), labels.split(256), strict=True):
        nn.functional.cross_entropy(scored(batch), wanted).backward()
    gradients = [parameter.grad for parameter in scored.parameters()]
    return _largest_within(lambda kept: _pruned(model, example, 1 - kept, gradients), example, limit)


def _pruned(model: nn.Module, example: Tensor, ratio: float, gradients: list[Tensor | None]) -> nn.Module:
    import torch_pruning as tp

    new = copy.deepcopy(model)
    for parameter, gradient in zip(new.parameters(), gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    last = [module for module in new.modules() if isinstance(module, nn.Linear)]
    pruner = tp.pruner.BasePruner(
        new,
        example,
        importance=tp.importance.GroupTaylorImportance(),
        pruning_ratio=ratio,
        ignored_layers=last,
        global_pruning=True,
        max_pruning_ratio=0.9,
    )
    pruner.step()
    return new.eval()


def _largest_within(make: object, example: Tensor, limit: float) -> nn.Module:
    """The least changed network under the limit, by bisection over the share kept."""
    low, high, best = 0.0, 1.0, None
    for _ in range(STEPS):
        middle = (low + high) / 2
        candidate = make(middle)  # type: ignore[operator]
        if count(candidate, as_inputs(example)).macs <= limit:
            low, best = middle, candidate
        else:
            high = middle
        if high - low < 1e-3 and best is not None:
            break
    if best is None:
        raise convsurgeon.UsageError(f"no share of this rival keeps at most {limit:,.0f} MACs")
    return best
