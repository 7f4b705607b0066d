"""A network as a LiteRT model (.tflite), by litert-torch; in int8 by ai-edge-quantizer, which comes with it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.base.errors import INTERRUPTIONS, ModelRunError, first_line
from convsurgeon.base.free_axes import FreeAxes, size_to_trace
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.export_axes import BY_DIM, export_axes
from convsurgeon.runtimes.quiet import quiet
from convsurgeon.runtimes.runtime import missing

__all__ = ["litert_missing", "litert_reader", "quantise_litert", "write_litert"]


def litert_missing() -> str | None:
    """Which package is missing; None if all are there."""
    return missing(("litert_torch", "ai_edge_litert", "ai_edge_quantizer"), "litert")


def write_litert(model: nn.Module, inputs: Inputs, path: Path, free: FreeAxes) -> None:
    """Convert a network in eval mode on the CPU, and write it.

    Raises:
        ModelRunError: litert-torch can't convert it.
    """
    given = size_to_trace(inputs, free)
    try:
        with _silent():
            import litert_torch

            shapes = export_axes(given, free, BY_DIM)
            converted = litert_torch.convert(
                model, tuple(given.args), dict(given.kwargs) or None, **({"dynamic_shapes": shapes} if shapes else {})
            )
            converted.export(str(path))
    except (OSError, *INTERRUPTIONS):
        raise
    # It raises whatever the traced code, torch.export, JAX and its own passes do.
    except BaseException as error:
        raise ModelRunError(f"litert-torch can't convert the model: {first_line(error)}.") from error


def litert_reader(path: Path) -> Callable[[Inputs], list[Tensor]]:
    """Open a file and run it in LiteRT on the CPU (XNNPACK), with torch's threads.

    What it returns raises ModelRunError for inputs of a size that the file can't be run on.
    """
    with _silent():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=torch.get_num_threads())
    shaped: list[tuple[tuple[int, ...], ...]] = []

    def run(inputs: Inputs) -> list[Tensor]:
        ports = interpreter.get_input_details()
        if shaped != [inputs.shapes()]:
            shaped.clear()
            for port, shape in zip(ports, inputs.shapes(), strict=True):
                interpreter.resize_tensor_input(port["index"], list(shape))
            try:
                interpreter.allocate_tensors()
            except RuntimeError as error:
                raise ModelRunError(f"LiteRT can't run it on {inputs.describe()}: {first_line(error)}.") from error
            shaped.append(inputs.shapes())
        for port, tensor in zip(ports, inputs.tensors(), strict=True):
            interpreter.set_tensor(port["index"], tensor.detach().cpu().contiguous().numpy())
        interpreter.invoke()
        return [torch.as_tensor(interpreter.get_tensor(port["index"])) for port in interpreter.get_output_details()]

    return run


def quantise_litert(source: Path, batches: Iterable[Inputs], in_float: Collection[str], target: Path) -> None:
    """Write the model in int8, weights for each channel and activations alike; it still takes and gives float32.

    Args:
        source: a model in float32.
        batches: what ranges are measured on.
        in_float: layers, by the names of the modules that they were converted from, which stay as they are.
        target: the file to write.

    Raises:
        ModelRunError: ai-edge-quantizer can't quantise the model.
    """
    try:
        with _silent():
            from ai_edge_litert.interpreter import Interpreter
            from ai_edge_quantizer import quantizer, recipe

            (signature, ports), *_ = Interpreter(model_path=str(source)).get_signature_list().items()
            names = ports["inputs"]
            work = quantizer.Quantizer(str(source))
            work.load_quantization_recipe(recipe.static_wi8_ai8())
            operations, stays = recipe.TFLOperationName, recipe.AlgorithmName.NO_QUANTIZE
            # Callers give and get what they give to the float file and get from it.
            for end in (operations.INPUT, operations.OUTPUT):
                work.update_quantization_recipe(".*", end, algorithm_key=stays)
            for name in in_float:
                work.update_quantization_recipe(_scope(name), operations.ALL_SUPPORTED, algorithm_key=stays)
            samples = [dict(zip(names, map(_array, inputs.tensors()), strict=True)) for inputs in batches]
            work.quantize(work.calibrate({signature: samples})).export_model(str(target), overwrite=True)
    except OSError:
        raise
    # It raises whatever its parts do.
    except Exception as error:
        raise ModelRunError(f"ai-edge-quantizer can't quantise the model: {first_line(error)}.") from error


def _scope(layer: str) -> str:
    """A pattern for the operations of a module: the classes on the way to it, each before its name in its owner."""
    return "/".join(rf"[^/;]*_{re.escape(part)}" for part in layer.split(".")) + ";"


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


@contextmanager
def _silent() -> Iterator[None]:
    """Converter and quantiser tell of each of their steps on both streams."""
    with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
