"""What a convolution module computes: the plain convolution it is equal to, or the reason why there is none.

Libraries subclass torch's convolutions to pad by the input's size, or to compute the weight (standardised, normed,
masked). Such a module is no obstacle where its forward is *padding, then one convolution*. That is found out by asking
it: its forward runs on noise, the one call of ``F.conv2d`` is caught, and answered with noise too (`probes`). If the
module gives that answer back unchanged, the call was all it computes; what went into it shows padding, weight and bias.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from convsurgeon.base.errors import INTERRUPTIONS, UnknownName, first_line
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.family import Refusal
from convsurgeon.families.torch_convs import Conv, PaddedConv, conv_shape, plain_conv
from convsurgeon.survey.probes import ARGUMENTS, Probe, Unlike, probe

__all__ = ["CONVS", "Source", "convolves_with_its_weight", "is_linear", "is_plain", "plainly", "source_of"]

CONVS: tuple[type[Any], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d, _ConvTransposeNd)

_FORWARDS = frozenset(
    kind.forward
    for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
)
_CONV_FORWARDS = frozenset(kind._conv_forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d))
_LARGEST_PROBE = 1 << 24


@dataclass(frozen=True)
class Source:
    """The plain convolution that a module is equal to: ``weight`` [C_out, C_in/groups, …], ``bias`` [C_out] or None."""

    shape: ConvShape
    weight: Tensor
    bias: Tensor | None


def is_plain(module: nn.Module) -> bool:
    """Whether torch's own forward runs on a weight that is a parameter."""
    if isinstance(module, PaddedConv):
        return True
    own = type(module).forward not in _FORWARDS or "forward" in vars(module)
    if not isinstance(module, _ConvTransposeNd):
        own = own or getattr(type(module), "_conv_forward", None) not in _CONV_FORWARDS
    return not own and not parametrize.is_parametrized(module) and "weight" in module._parameters


def is_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether torch's own linear forward runs."""
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


def source_of(module: Any, input_size: Sequence[int] = ()) -> Source | Refusal:
    """What the module computes in eval mode; it is not run where torch's own forward stands.

    ``input_size`` is a map (H, W) it is known to read; others are tried as well.
    """
    if is_plain(module):
        return Source(conv_shape(module), module.weight.detach(), None if module.bias is None else module.bias.detach())
    name = type(module).__name__
    if isinstance(module, _ConvTransposeNd):
        return _parametrised(module) or Refusal(f"{name} computes its own forward, which a replacement would lose")
    computed = module._modules.get("parametrizations")
    if any(_holds_state(child) for child in module.children() if child is not computed):
        return Refusal(f"{name} runs modules of its own that hold values, which a replacement would lose")
    try:
        twin = _runnable(module)
        probes = [probe(twin, size) for size in _sizes(module, tuple(input_size))]
        return _agreed(probes)
    except Unlike as unlike:
        return Refusal(f"{name} {unlike}, which a replacement would lose")
    except INTERRUPTIONS:
        raise
    except BaseException as error:
        # Any code may stand in a forward; where it can't be run by itself, it can't be read.
        return Refusal(f"{name} computes its own forward, which can't be read: {first_line(error)}")


def convolves_with_its_weight(module: Any, input_size: Sequence[int]) -> bool:
    """Whether the module pads and convolves with its own parameters as they are; arguments as in `source_of`."""
    if is_plain(module):
        return True
    if parametrize.is_parametrized(module) or "weight" not in module._parameters:
        return False
    twin = _runnable(module)
    source = source_of(twin, input_size)
    return isinstance(source, Source) and _equal(source.weight, twin.weight) and _equal(source.bias, twin.bias)


def plainly(module: Any) -> Conv:
    """The module itself where it is plain, otherwise a convolution that computes the same, on its device.

    Raises:
        UnknownName: the module is equal to no plain convolution.
    """
    if is_plain(module):
        return module
    source = source_of(module)
    if isinstance(source, Refusal):
        raise UnknownName(f"a convolution was expected; {source.reason}.")
    # On the meta device first: no fresh weights, and no random numbers drawn for them.
    with torch.device("meta"):
        conv = plain_conv(source.shape)
    trainable = any(parameter.requires_grad for parameter in module.parameters())
    conv.weight = nn.Parameter(source.weight, requires_grad=trainable)
    if source.bias is not None:
        conv.bias = nn.Parameter(source.bias, requires_grad=trainable)
    return conv.train(module.training)


def _parametrised(module: _ConvTransposeNd) -> Source | None:
    """A transposed convolution with torch's own forward on a computed weight; None for any other."""
    if type(module).forward not in _FORWARDS or "forward" in vars(module):
        return None
    twin = _runnable(module)
    with torch.no_grad():
        bias = None if twin.bias is None else twin.bias.detach().clone()  # type: ignore[operator]
        return Source(conv_shape(module), twin.weight.detach().clone(), bias)  # type: ignore[operator,arg-type]


def _holds_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _runnable(module: nn.Module) -> nn.Module:
    """A copy in eval mode; without values to compute with, it gets noise."""
    twin = copy.deepcopy(module).eval()
    if any(tensor.is_meta for tensor in (*twin.parameters(), *twin.buffers())):
        twin, generator = twin.to_empty(device="cpu"), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for tensor in (*twin.parameters(), *twin.buffers()):
                if tensor.is_floating_point():
                    tensor.normal_(generator=generator)
    return twin


def _sizes(module: _ConvNd, input_size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Maps to try: enough room for the kernel, every remainder of the stride, and the one it really reads."""
    least = [2 * d * (k - 1) + 2 for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    sizes = [tuple(n + more for n in least) for more in range(max(module.stride) + 1)]
    if input_size and module.in_channels * torch.Size(input_size).numel() <= _LARGEST_PROBE:
        sizes.append(input_size)
    return sizes


def _agreed(probes: Sequence[Probe]) -> Source:
    """One convolution that explains all runs."""
    first = probes[0].call
    weight, bias = first["weight"].detach(), first.get("bias")
    for one, other in pairwise(probes):
        same = (_equal(one.call.get(key), other.call.get(key)) for key in ARGUMENTS[1:])
        if not all(same):
            raise Unlike("computes a convolution that depends on its input")
    axes = weight.dim() - 2
    stride, dilation = (_each(first.get(key, 1), axes) for key in ("stride", "dilation"))
    groups = int(first.get("groups", 1))
    shape = ConvShape(
        in_channels=weight.shape[1] * groups,
        out_channels=weight.shape[0],
        kernel=tuple(weight.shape[2:]),
        stride=stride,
        padding=(0,) * axes,
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
    )
    padding, mode = _rule(shape, probes, first.get("padding", 0))
    shape = shape.model_copy(update={"padding": padding, "padding_mode": mode})
    return Source(shape, weight.clone(), None if bias is None else bias.detach().clone())


def _rule(shape: ConvShape, probes: Sequence[Probe], own: Any) -> tuple[Any, str]:
    """The padding of all runs as a ConvShape has it; ``own`` is what the convolution's call pads besides."""
    modes = {probe.mode for probe in probes if any(map(any, probe.pads))}
    if isinstance(own, str) or any(_each(own, len(shape.kernel))):
        if modes - {"zeros"} or (isinstance(own, str) and modes):
            raise Unlike("pads twice")
        alone = shape.model_copy(update={"padding": own if isinstance(own, str) else _each(own, len(shape.kernel))})
    else:
        alone = shape
    if len(modes) > 1:
        raise Unlike("pads in a way that depends on its input")
    mode = next(iter(modes), "zeros")
    whole = [
        tuple((a + c, b + d) for (a, b), (c, d) in zip(probe.pads, alone.pads(probe.size), strict=True))
        for probe in probes
    ]
    for padding in ("same", _simplest(whole[0]), "dynamic"):
        if padding == "same" and set(shape.stride) != {1}:
            continue
        ruled = shape.model_copy(update={"padding": padding})
        if all(ruled.pads(probe.size) == pads for probe, pads in zip(probes, whole, strict=True)):
            # A symmetric "same" is what most code writes as numbers.
            return (_simplest(whole[0]) if padding == "same" and _symmetric(whole[0]) else padding), mode
    raise Unlike("pads by a rule of its own")


def _symmetric(pads: Sequence[tuple[int, int]]) -> bool:
    return all(before == after for before, after in pads)


def _simplest(pads: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
    return tuple(before for before, _ in pads) if _symmetric(pads) else tuple(pads)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (int(value),) * axes if isinstance(value, int) else tuple(int(v) for v in value)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return bool(one == other)
