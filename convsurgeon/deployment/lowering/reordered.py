"""Modules whose input or output channels come in another order: the same computation with its weights moved."""

from __future__ import annotations

from torch import Tensor, nn

from convsurgeon.families.forms.convolution import PLAIN_CONVS, convolution

__all__ = ["conv_reading", "conv_writing", "linear_reading", "norm_in"]


def conv_reading(conv: nn.Module, order: Tensor) -> nn.Module:
    """For inputs whose channel j is what channel ``order[j]`` was."""
    if not isinstance(conv, PLAIN_CONVS):
        raise TypeError(f"{type(conv).__name__} is no convolution")
    return convolution(conv, conv.weight[:, order], conv.bias, groups=conv.groups)


def conv_writing(conv: nn.Module, order: Tensor) -> nn.Module:
    """With channel j written where channel ``order[j]`` was."""
    if not isinstance(conv, PLAIN_CONVS):
        raise TypeError(f"{type(conv).__name__} is no convolution")
    bias = None if conv.bias is None else conv.bias[order]
    return convolution(conv, conv.weight[order], bias, groups=conv.groups)


def norm_in(norm: nn.Module, order: Tensor) -> nn.Module:
    """A batch norm with its channels in that order."""
    new = _shallow(norm)
    for tensors in (new._parameters, new._buffers):
        for name, value in list(tensors.items()):
            if value is not None and value.dim() == 1:
                moved = value.detach()[order]
                setattr(new, name, nn.Parameter(moved, requires_grad=False) if tensors is new._parameters else moved)
    return new


def linear_reading(linear: nn.Module, order: Tensor) -> nn.Module:
    """For inputs in that order, of which each channel may have become several columns by flattening."""
    new = _shallow(linear)
    weight = linear.get_parameter("weight").detach()
    columns = weight.view(len(weight), len(order), -1)[:, order].reshape(weight.shape)
    new.weight = nn.Parameter(columns, requires_grad=False)
    return new


def _shallow(module: nn.Module) -> nn.Module:
    """A module of the same class that shares tensors until they are replaced."""
    new = module.__new__(type(module))
    new.__dict__ = dict(module.__dict__)
    new._parameters, new._buffers = dict(module._parameters), dict(module._buffers)
    return new
