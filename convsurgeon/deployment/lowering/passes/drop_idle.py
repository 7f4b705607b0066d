"""What does nothing in eval mode goes: identities and dropout.

Requires: eval mode. Ensures: the same outputs, bit for bit.
"""

from __future__ import annotations

from torch import fx, nn

from convsurgeon.deployment.lowering.graph import first_argument, module_of
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.deployment.lowering.step import Step

__all__ = ["drop_idle"]

NAME = "drop idle modules"
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def drop_idle(traced: fx.GraphModule) -> tuple[fx.GraphModule, tuple[Step, ...]]:
    """Remove the calls of modules that hand their input on."""
    new = own_copy(traced)
    steps = []
    for node in list(new.graph.nodes):
        if type(module_of(new, node)) in _IDLE and isinstance(first_argument(node), fx.Node):
            steps.append(Step(pass_name=NAME, where=str(node.target), what="removed"))
            node.replace_all_uses_with(first_argument(node))
            new.graph.erase_node(node)
    return finished(new), tuple(steps)
