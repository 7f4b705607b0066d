"""Whether a module's parameters can be cut, or its calls left out, and why not where they can't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize

from convsurgeon.families.unit import CompactConv
from convsurgeon.survey.altered import computed_by_hook
from convsurgeon.survey.calls import NEVER, Called
from convsurgeon.survey.sources import CONVS, convolves_with_its_weight, is_linear

__all__ = ["CUTTABLE", "Cuttable", "tied_weights"]

# Whose weights have an axis, or two, of a stream's channels.
CUTTABLE: tuple[type[nn.Module], ...] = (*CONVS, nn.Linear, _BatchNorm, _InstanceNorm, nn.PReLU)


class Cuttable:
    """Answers by qualified name, for one model and what one forward of it called.

    ``read`` names the modules whose parameters the forward reads past their own calls.
    """

    def __init__(self, model: nn.Module, seen: Mapping[str, Called], read: Collection[str]) -> None:
        self.seen = seen
        self._read = read
        self._modules = dict(model.named_modules())
        self._tied = tied_weights(model)
        # Where nothing is trainable, it is no sign that somebody wants a layer left as it is.
        self._trainable = any(parameter.requires_grad for parameter in model.parameters())

    def why_kept(self, name: str, part: str) -> str | None:
        """Why nothing may be done to the module, as part of a graph of ``part``; None if it may."""
        module = self._modules[name]
        times, expected = self.seen.get(name, NEVER).times, self.seen.get(part, NEVER).times
        if not times:
            return "it is never called as a module in this forward (eval mode)"
        if not expected:
            return f"'{part}' is never called as a whole"
        if "forward" in vars(self._modules[part]):
            # Its graph is that of the class's forward.
            whole = f"'{part}'" if part else "the network"
            return f"{whole} runs a forward that was put on the object"
        if times != expected:
            return "it is called from several places"
        if self.altered(name):
            return "it carries hooks or a forward of its own"
        own = list(module.parameters(recurse=False))
        if any(id(parameter) in self._tied for parameter in own):
            return "its weight is shared with another module"
        if self._trainable and own and not any(parameter.requires_grad for parameter in own):
            return "it is frozen (requires_grad=False)"
        return None

    def why_whole(self, name: str, part: str) -> str | None:
        """Why no channel of the module may be cut; None if one may."""
        module = self._modules[name]
        if isinstance(module, CompactConv):
            return "it is converted already"
        if (computed := computed_by_hook(module)) is not None:
            return f"its weight is {computed}"
        if (kept := self.why_kept(name, part)) is not None:
            return kept
        if name in self._read:
            return "the forward reads its weight directly"
        if parametrize.is_parametrized(module):
            return "its weight is computed by a parametrization"
        if any(parameter.is_complex() for parameter in module.parameters()):
            return "its weights are complex"
        own = isinstance(module, nn.Linear) and not is_linear(module)
        if own or (isinstance(module, CONVS) and not convolves_with_its_weight(module, self.seen[name].read[2:])):
            return f"{type(module).__name__} computes its own forward"
        return None

    def unused(self) -> bool:
        """Whether some layer with weights is never called, as the auxiliary heads are that only training calls."""
        return any(isinstance(module, CUTTABLE) and name not in self.seen for name, module in self._modules.items())

    def altered(self, name: str) -> bool:
        """Whether hooks hear of the module's calls, or a forward was put on a leaf, which no graph shows."""
        module = self._modules[name]
        hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
        return bool(hooks) or ("forward" in vars(module) and not module._modules)


def tied_weights(model: nn.Module) -> set[int]:
    """Ids of parameters that more than one module owns."""
    owners: Counter[int] = Counter()
    for module in model.modules():
        own: dict[str, Any] = module._parameters
        owners.update({id(parameter) for parameter in own.values() if parameter is not None})
    return {key for key, times in owners.items() if times > 1}
