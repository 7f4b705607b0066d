"""A graph of one's own to rewrite; modules stay shared until they are replaced."""

from __future__ import annotations

import copy

from torch import fx

__all__ = ["finished", "own_copy"]


def own_copy(traced: fx.GraphModule) -> fx.GraphModule:
    """The same graph and the same modules under a new root, whose nodes and names can be replaced freely."""
    meta = {node.name: node.meta for node in traced.graph.nodes}
    memo = {id(value): value for node in traced.graph.nodes for value in node.meta.values()}
    new = fx.GraphModule(traced, copy.deepcopy(traced.graph, memo))
    for node in new.graph.nodes:
        node.meta = dict(meta.get(node.name, {}))
    for key, value in vars(traced).items():
        if not key.startswith("_") and key not in vars(new):
            setattr(new, key, value)
    return new


def finished(traced: fx.GraphModule) -> fx.GraphModule:
    """Drop what is no longer used, and compile the graph's code."""
    traced.graph.lint()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
