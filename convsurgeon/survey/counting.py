"""One forward pass on a weightless copy of the model, with every multiply-accumulate counted by PyTorch itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from convsurgeon.base.copies import duplicate, shadow
from convsurgeon.base.errors import ModelError
from convsurgeon.base.generators import kept_generators
from convsurgeon.base.inputs import Inputs, as_inputs
from convsurgeon.families.cost import Cost

__all__ = ["CountedOn", "CountedRun", "count", "count_params", "run_on_copy"]

CountedOn = Literal["meta", "device"]


def count_params(model: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count(model: nn.Module, example_inputs: Any) -> Cost:
    """MACs of one forward on the inputs (conv, linear, matmul and recurrent layers; the whole batch) and parameters.

    ``example_inputs`` is a tensor, a tuple of positional arguments or a dict of keyword arguments. Counted by
    ``torch.utils.flop_counter`` (whose FLOPs are 2 × MACs) in eval mode. The model is untouched.

    Raises:
        UsageError: inputs of another kind.
        ModelRunError: the model fails on these inputs.
    """
    inputs = as_inputs(example_inputs).like(model)
    return Cost(run_on_copy(model, inputs).macs, count_params(model))


@dataclass(frozen=True)
class CountedRun:
    """The copy that ran, its MACs, what it returned ("float32 [1, 1000]" for each tensor), and where it ran.

    ``counted_on`` is "meta" for a run without weights, "device" for one on real numbers.
    """

    copy: nn.Module
    macs: int
    outputs: tuple[str, ...]
    counted_on: CountedOn


def run_on_copy(
    model: nn.Module,
    inputs: Inputs,
    before: Callable[[nn.Module], None] = lambda _: None,
    after: Callable[[], None] = lambda: None,
) -> CountedRun:
    """Run a weightless copy on the meta device, or else a real copy; ``before`` may put hooks on the copy, ``after`` is
    called when a run has ended, however it did.

    Raises:
        ModelRunError: the model fails on these inputs.
    """
    try:
        weightless = shadow(model)
        before(weightless)
        return CountedRun(weightless, *_counted(weightless, inputs.to("meta"), after), "meta")
    except (ModelError, NotImplementedError):
        # Data-dependent control flow needs real numbers, and so does a tensor that is neither parameter nor buffer.
        real = duplicate(model).eval()
        before(real)
        return CountedRun(real, *_counted(real, inputs, after), "device")


def _counted(model: nn.Module, inputs: Inputs, after: Callable[[], None]) -> tuple[int, tuple[str, ...]]:
    """MACs and outputs of one forward of ``model`` as it is (no copy, no change of mode)."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        # Models that draw random numbers in forward would otherwise move the caller's generator on.
        stack.enter_context(kept_generators())
        # Fused attention is a single operator that the counter does not know on every device.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_without_attention_fastpath())
        counter = stack.enter_context(FlopCounterMode(display=False, custom_mapping=_RECURRENT))
        stack.callback(after)
        output = inputs.call(model)
    described = tuple(
        f"{str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}"
        for leaf in tree_leaves(output)
        if isinstance(leaf, torch.Tensor)
    )
    return int(counter.get_total_flops()) // 2, described


def _recurrent_flops(shape: torch.Size, weights: Sequence[torch.Size]) -> int:
    """FLOPs (2 × MACs) of a recurrent layer in one operator: every matrix once for each position of [T, N, C]."""
    return 2 * math.prod(shape[:-1]) * sum(math.prod(weight) for weight in weights if len(weight) == 2)


def _onednn_layer_flops(shape: torch.Size, *weights: Any, out_shape: Any = None, **_settings: Any) -> int:
    # Input and hidden matrix; what follows are biases, or the matrices again where there are none.
    return _recurrent_flops(shape, weights[:2])


def _cudnn_flops(shape: torch.Size, weights: Any, *_settings: Any, out_shape: Any = None, **_more: Any) -> int:
    return _recurrent_flops(shape, weights)


# In oneDNN and cuDNN a recurrent layer is a single operator that the counter does not know.
_RECURRENT = {
    torch.ops.aten.mkldnn_rnn_layer: _onednn_layer_flops,
    torch.ops.aten._cudnn_rnn: _cudnn_flops,
}


@contextmanager
def _without_attention_fastpath() -> Iterator[None]:
    """nn.MultiheadAttention's fused inference path is not counted either."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
