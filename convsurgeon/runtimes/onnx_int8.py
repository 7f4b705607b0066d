"""An ONNX graph in int8, by ONNX Runtime's own quantiser."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.quiet import quiet

__all__ = ["OLDEST_INT8_OPSET", "onnx_in_int8", "quantise_onnx"]

# Scales for each channel came with it.
OLDEST_INT8_OPSET = 13

_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SCOPES = "pkg.torch.onnx.name_scopes"


def quantise_onnx(source: Path, batches: Iterable[Inputs], in_float: Collection[str], target: Path) -> None:
    """Write the graph with quantised and dequantised tensors (QDQ): weights int8 for each channel, activations uint8.

    Args:
        source: a graph in float32.
        batches: what ranges are measured on, from the least value to the largest.
        in_float: layers, by the names of the modules that they were exported from, which stay as they are.
        target: the file to write.

    Raises:
        ModelRunError: ONNX Runtime can't quantise the graph.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    graph = onnx.load(source).graph
    weights = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in weights]
    try:
        with quiet():
            quantize_static(
                source,
                target,
                _Reader(names, batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[node.name for node in graph.node if _layer(node) in in_float],
            )
    except OSError:
        raise
    # The quantiser raises whatever its parts do.
    except Exception as error:
        raise ModelRunError(f"ONNX Runtime can't quantise the model: {first_line(error)}.") from error


def onnx_in_int8(content: bytes, batches: Iterable[Inputs]) -> bytes:
    """The same for a graph in memory.

    Raises:
        ModelRunError: ONNX Runtime can't quantise the graph.
    """
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(content)
        quantise_onnx(source, batches, (), target)
        return target.read_bytes()


class _Reader:
    """Batches as the calibrator asks for them."""

    def __init__(self, names: list[str], batches: Iterable[Inputs]) -> None:
        self._names = names
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The next batch by input names; None at the end."""
        inputs = next(self._batches, None)
        if inputs is None:
            return None
        tensors = (tensor.detach().cpu().numpy() for tensor in inputs.tensors())
        return dict(zip(self._names, tensors, strict=True))


def _layer(node: Any) -> str | None:
    """The module that a node with weights was exported from; exporters tell it in three ways."""
    if node.op_type not in _WITH_WEIGHTS:
        return None
    weight = str(node.input[1])
    if weight.endswith(".weight"):
        return weight.removesuffix(".weight")
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    if scopes is not None:
        words = [word.strip(" '\"[]") for word in scopes.split(",")]
        return words[-2] if len(words) > 1 else None
    *owners, _operation = str(node.name).strip("/").split("/")
    # A sequence's part bears its owner's name: /layer1/layer1.0/fc/MatMul.
    names = [part.removeprefix(f"{owner}.") for owner, part in zip(["", *owners], owners, strict=False)]
    return ".".join(names) or None
