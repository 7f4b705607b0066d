"""Batch norm in eval mode is a scale and a shift per channel: fold it into the convolution before it.

Requires: eval mode; the convolution's only reader is the norm, and both are called once. Ensures: equal outputs up
to rounding. A norm that can't be folded stays, with the reason.
"""

from __future__ import annotations

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d

from convsurgeon.deployment.lowering.graph import called_once, first_argument, module_of
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.deployment.lowering.step import Step
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.forms.convolution import PLAIN_CONVS, scaled

__all__ = ["fold_batch_norm"]

NAME = "fold batch norm"


def fold_batch_norm(traced: fx.GraphModule) -> tuple[fx.GraphModule, tuple[Step, ...]]:
    """Fold every norm that stands right behind a convolution or a compact unit."""
    new = own_copy(traced)
    once = called_once(new)
    steps = []
    for node in list(new.graph.nodes):
        norm = module_of(new, node)
        if not isinstance(norm, (_BatchNorm, FrozenBatchNorm2d)):
            continue
        where, before = str(node.target), first_argument(node)
        reason = _obstacle(new, node, norm, before, once)
        if reason is None:
            new.set_submodule(str(before.target), _folded(module_of(new, before), norm))
            node.replace_all_uses_with(before)
            new.graph.erase_node(node)
        what = f"kept: {reason}" if reason else f"folded into {before.target}"
        steps.append(Step(pass_name=NAME, where=where, what=what, done=reason is None))
    return finished(new), tuple(steps)


def _obstacle(traced: fx.GraphModule, node: fx.Node, norm: nn.Module, before: object, once: set[fx.Node]) -> str | None:
    """Why a norm has to stay; None if it can be folded."""
    conv = module_of(traced, before)
    if not isinstance(before, fx.Node) or not (isinstance(conv, Absorbed) or type(conv) in PLAIN_CONVS):
        return "no convolution stands right before it"
    if norm.running_mean is None or norm.training:
        return "it normalises by the statistics of the batch"
    if len(before.users) > 1:
        return f"{before.target} has other readers"
    if before not in once or node not in once:
        return "it, or the convolution before it, is called more than once"
    return None


def _folded(conv: nn.Module | None, norm: _BatchNorm | FrozenBatchNorm2d) -> nn.Module:
    scale, shift = _affine(norm)
    if isinstance(conv, Absorbed):
        return conv.then(scale, shift)
    if isinstance(conv, PLAIN_CONVS):
        return scaled(conv, scale, shift)
    raise TypeError(f"{type(conv).__name__} takes no batch norm in")


def _affine(norm: _BatchNorm | FrozenBatchNorm2d) -> tuple[Tensor, Tensor]:
    """A norm in eval mode as y = x · scale + shift, in float64."""
    mean, variance = (getattr(norm, name).detach().double() for name in ("running_mean", "running_var"))
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()
