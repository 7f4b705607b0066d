"""Quantising a torch.export program by torchao's PT2E flow, with the quantiser of whatever runs it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import fx, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.quiet import quiet

__all__ = ["quantised_graph", "unstacked"]

_ANNOTATION = "quantization_annotation"


def unstacked(network: nn.Module) -> nn.Module:
    """A copy whose graphs do not tell from which modules they were traced.

    torch.export takes that over, and the quantiser then looks for convolutions in units that are no more.
    """
    copy = duplicate(network)
    for module in copy.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("nn_module_stack", None)
    return copy


def quantised_graph(
    program: torch.export.ExportedProgram, quantiser: Any, batches: Iterable[Inputs], in_float: Collection[str]
) -> fx.GraphModule:
    """The graph of an exported program, quantising and dequantising around its convolutions and linear layers.

    Args:
        program: of an `unstacked` network.
        quantiser: a ``torchao.quantization.pt2e.quantizer.Quantizer``.
        batches: what ranges are measured on.
        in_float: layers, by the names of their modules, which stay as they are.

    Raises:
        ModelRunError: torchao can't quantise the program.
    """
    try:
        with quiet(), torch.no_grad():
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            prepared = prepare_pt2e(program.module(), _sparing(quantiser, in_float))
            for inputs in batches:
                inputs.call(prepared)
            return _without_unused(convert_pt2e(prepared))
    # torchao raises whatever its passes do.
    except Exception as error:
        raise ModelRunError(f"torchao can't quantise the model: {first_line(error)}.") from error


def _sparing(quantiser: Any, in_float: Collection[str]) -> Any:
    """As the quantiser, but for the layers that stay in float."""
    annotate = quantiser.annotate

    def spare(model: fx.GraphModule) -> fx.GraphModule:
        annotated: fx.GraphModule = annotate(model)
        for node in annotated.graph.nodes:
            if _layer(node) in in_float:
                node.meta.pop(_ANNOTATION, None)
        return annotated

    quantiser.annotate = spare
    return quantiser


def _layer(node: fx.Node) -> str | None:
    """The module whose weight a node multiplies by."""
    weight = node.args[1] if node.op == "call_function" and len(node.args) > 1 else None
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return None
    return str(weight.target).removesuffix(".weight")


def _without_unused(graph: fx.GraphModule) -> fx.GraphModule:
    """Without the weights in float, which nothing reads any more; a file would hold them."""
    graph.graph.eliminate_dead_code()
    graph.recompile()
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name, _ in list(graph.named_parameters()):
        if name not in used:
            owner, _, attribute = name.rpartition(".")
            delattr(graph.get_submodule(owner), attribute)
    return graph
