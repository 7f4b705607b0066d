"""A torch.export program in int8, by torchao's PT2E flow with the quantiser and the kernels for x86 (oneDNN)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from convsurgeon.base.copies import duplicate
from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.closeness import as_tensors
from convsurgeon.runtimes.quiet import quiet
from convsurgeon.runtimes.runtime import missing

__all__ = ["pt2_int8_reader", "quantised_graph", "torchao_missing", "unstacked"]

_ANNOTATION = "quantization_annotation"


def torchao_missing() -> str | None:
    """Which package is missing, or what the kernels need; None if all is there."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this build of torch has no oneDNN, whose int8 kernels it would run in."
    return missing(("torchao",), "int8")


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


def quantised_graph(program: Any, batches: Iterable[Inputs], in_float: Collection[str]) -> fx.GraphModule:
    """The graph of an exported program, quantising and dequantising around its convolutions and linear layers.

    Args:
        program: a ``torch.export.ExportedProgram`` of an `unstacked` network.
        batches: what ranges are measured on.
        in_float: layers, by the names of their modules, which stay as they are.

    Raises:
        ModelRunError: torchao can't quantise the program.
    """
    try:
        with quiet(), torch.no_grad():
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            prepared = prepare_pt2e(program.module(), _quantiser(in_float))
            for inputs in batches:
                inputs.call(prepared)
            return _without_unused(convert_pt2e(prepared))
    # torchao raises whatever its passes do.
    except Exception as error:
        raise ModelRunError(f"torchao can't quantise the model: {first_line(error)}.") from error


def _quantiser(in_float: Collection[str]) -> Any:
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    class Quantiser(x86.X86InductorQuantizer):  # type: ignore[misc]
        """As torchao's, but for the layers that stay in float."""

        def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
            annotated: fx.GraphModule = super().annotate(model)
            for node in annotated.graph.nodes:
                if _layer(node) in in_float:
                    node.meta.pop(_ANNOTATION, None)
            return annotated

    quantiser = Quantiser()
    quantiser.set_global(x86.get_default_x86_inductor_quantization_config())
    return quantiser


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


def _layer(node: fx.Node) -> str | None:
    """The module whose weight a node multiplies by."""
    weight = node.args[1] if node.op == "call_function" and len(node.args) > 1 else None
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return None
    return str(weight.target).removesuffix(".weight")


def pt2_int8_reader(path: Path) -> Callable[[Inputs], list[Tensor]]:
    """Open a file of a quantised graph and run it in int8 kernels, which are set up once for each shape of inputs."""
    with quiet():
        from torchao.quantization.pt2e.inductor_passes.x86 import _register_quantization_weight_pack_pass
        from torchao.quantization.pt2e.lowering import lower_pt2e_quantized_to_x86

        _register_quantization_weight_pack_pass()
        module: Any = torch.export.load(path).module()
    made: dict[tuple[tuple[int, ...], ...], Any] = {}

    def run(inputs: Inputs) -> list[Tensor]:
        with torch.no_grad():
            if inputs.shapes() not in made:
                with quiet():
                    made[inputs.shapes()] = lower_pt2e_quantized_to_x86(module, tuple(inputs.args))
            return as_tensors(inputs.call(made[inputs.shapes()]))

    return run
