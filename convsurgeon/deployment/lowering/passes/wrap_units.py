"""Compact units become ``Absorbed``, so that later passes have a place to fold things into.

Requires: nothing. Ensures: the same outputs.
"""

from __future__ import annotations

from torch import fx

from convsurgeon.deployment.lowering.graph import module_of
from convsurgeon.deployment.lowering.passes.rewriting import finished, own_copy
from convsurgeon.families.forms.absorbed import Absorbed
from convsurgeon.families.unit import CompactConv

__all__ = ["wrap_units"]


def wrap_units(traced: fx.GraphModule) -> fx.GraphModule:
    """Wrap every compact unit, each once however often it is called."""
    new = own_copy(traced)
    wrapped: dict[int, Absorbed] = {}
    for node in new.graph.nodes:
        unit = module_of(new, node)
        if isinstance(unit, CompactConv):
            new.set_submodule(str(node.target), wrapped.setdefault(id(unit), Absorbed.nothing(unit)))
    return finished(new)
