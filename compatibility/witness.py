"""Outside witnesses: a walk over the modules, PyTorch's own counter, and the bytes of weights and outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

__all__ = [
    "TRANSPOSED",
    "Ran",
    "call",
    "convolutions",
    "digest",
    "outputs_equal",
    "params",
    "ran",
    "state_of",
    "wide_convolutions",
]

_FORWARD = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LEAST_CHANNELS = 16
# Of a kernel, longer than one.
_AXES = {"spatial": 2, "tucker": 1}


def convolutions(model: nn.Module) -> dict[str, nn.Module]:
    """Every convolution by its first name: 1d, 2d, 3d, transposed ones, and subclasses."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (*_FORWARD, *TRANSPOSED))}


def wide_convolutions(model: nn.Module, method: str = "") -> dict[str, nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """Those with groups=1 and at least 16 channels on both sides: where one is, there is something to convert.

    Transposed ones are left out: not every method has a form for them. ``spatial`` and
    ``tucker`` have nothing to split of a 1×1 kernel, nor ``spatial`` of one that is long along one axis, or of three.
    """
    axes = _AXES.get(method, 0)
    return {
        name: conv
        for name, conv in model.named_modules()
        if isinstance(conv, _FORWARD)
        and conv.groups == 1
        and min(conv.in_channels, conv.out_channels) >= _LEAST_CHANNELS
        and sum(length > 1 for length in conv.kernel_size) >= axes
        and (method != "spatial" or len(conv.kernel_size) == axes)
    }


def params(model: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum({id(parameter): parameter.numel() for parameter in model.parameters()}.values())


def call(model: nn.Module, inputs: Any) -> Any:
    """Run a network on a tuple of positional or a dict of keyword arguments, always from the same random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


class Ran:
    """One forward in eval mode: the tensors it returned, in order, and its MACs by FlopCounterMode / 2."""

    def __init__(self, outputs: tuple[Tensor, ...], macs: int) -> None:
        self.outputs, self.macs = outputs, macs

    def shapes(self, varying: bool = False) -> list[str]:
        """Type and shape of each tensor; where sizes depend on the data only type and number of axes."""
        return [f"{t.dtype} {t.dim() if varying else list(t.shape)}" for t in self.outputs]


def ran(model: nn.Module, inputs: Any) -> Ran:
    """Run a network that is in eval mode, counted by PyTorch itself."""
    counter = FlopCounterMode(display=False)
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        _without_attention_fastpath(),
        _without_fused_recurrence(model),
        _frozen(model),
        counter,
    ):
        output = call(model, inputs)
    return Ran(tuple(leaf for leaf in _tensors(output)), counter.get_total_flops() // 2)


def _tensors(output: Any) -> Iterator[Tensor]:
    """Every tensor of an output; objects that act as dicts (transformers' outputs) count as dicts."""
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf


@contextmanager
def _without_attention_fastpath() -> Iterator[None]:
    """The fused path of nn.MultiheadAttention is one operator that the counter does not know."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _without_fused_recurrence(model: nn.Module) -> AbstractContextManager[None]:
    """Neither is oneDNN's LSTM; without oneDNN it is made of products that the counter knows."""
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return nullcontext()
    without: AbstractContextManager[None] = torch.backends.mkldnn.flags(enabled=False)
    return without


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """The counter's hooks fail on parameters that are handed from module to module without a gradient."""
    before = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in before:
            parameter.requires_grad_(True)


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


def outputs_equal(a: Ran, b: Ran) -> bool:
    """Whether every tensor is equal bit by bit (a NaN is equal to itself)."""
    return a.shapes() == b.shapes() and all(
        bool((_bytes(x) == _bytes(y)).all()) for x, y in zip(a.outputs, b.outputs, strict=True)
    )


def digest(model: nn.Module) -> str:
    """A hash of everything a caller sees of a model: weights, buffers, classes, flags, hooks."""
    found = hashlib.blake2b()
    for name, tensor in state_of(model).items():
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)} {tensor.requires_grad}".encode())
        found.update(_bytes(tensor).data)
    for name, module in model.named_modules():
        hooks = len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)
        found.update(f"{name} {type(module).__qualname__} {module.training} {hooks} {id(module)}".encode())
    return found.hexdigest()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those that a state dict leaves out too."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
