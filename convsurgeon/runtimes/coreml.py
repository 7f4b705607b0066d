"""A torch.export program as a Core ML package (.mlpackage), by coremltools, and what such a package holds.

Core ML itself runs on Apple's systems alone; elsewhere a package can be looked at, and that is what is done here.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.runtimes.quiet import quiet
from convsurgeon.runtimes.runtime import missing

__all__ = ["COREML_PRECISIONS", "CoreMlContent", "coreml_content", "coreml_missing", "layers_in", "write_coreml"]

# Core ML's own first: the Neural Engine has no other.
COREML_PRECISIONS = ("float16", "float32")

# What multiplies by weights: MIL's operations, and torch's of the same kind.
_CONVOLUTIONS = ("conv", "conv_transpose")
_LINEAR = "linear"


@dataclass(frozen=True)
class CoreMlContent:
    """What a package holds: shapes of inputs and outputs by name, operations by kind, bytes of weights."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    operations: Mapping[str, int]
    weights: int

    @property
    def layers(self) -> tuple[int, int]:
        """Convolutions, and linear layers."""
        return sum(self.operations.get(kind, 0) for kind in _CONVOLUTIONS), self.operations.get(_LINEAR, 0)


def coreml_missing() -> str | None:
    """Which package is missing; None if it is there."""
    return missing(("coremltools",), "coreml")


def write_coreml(
    program: torch.export.ExportedProgram, outputs: Sequence[str], precision: str | None, path: Path
) -> None:
    """Write a package whose ``outputs`` have these names, in one of the precisions; None is Core ML's own.

    Raises:
        ModelRunError: coremltools can't convert the program.
    """
    try:
        with _silent():
            import coremltools

            chosen = {"float16": coremltools.precision.FLOAT16, "float32": coremltools.precision.FLOAT32}
            coremltools.convert(
                _without_aliases(program.run_decompositions({})),
                outputs=[coremltools.TensorType(name=name) for name in outputs],
                convert_to="mlprogram",
                compute_precision=chosen[precision or COREML_PRECISIONS[0]],
                skip_model_load=True,
            ).save(str(path))
    except OSError:
        raise
    # It raises whatever its passes do.
    except Exception as error:
        raise ModelRunError(f"coremltools can't convert the model: {first_line(error)}.") from error


def _without_aliases(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Other names of tensors, which coremltools does not know, taken out of a program of ours."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph_signature.replace_all_uses(node.name, node.args[0].name)
            program.graph.erase_node(node)
    return program


def coreml_content(path: Path) -> CoreMlContent:
    """Read a package back, weights included."""
    with _silent():
        import coremltools
        from coremltools.converters.mil.frontend.milproto.load import load

        package = coremltools.models.MLModel(str(path), skip_model_load=True)
        spec = package.get_spec()
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=str(package.weights_dir))
    operations = program.functions["main"].operations
    constants = [operation.outputs[0].val for operation in operations if operation.op_type == "const"]
    return CoreMlContent(
        _shapes(spec.description.input),
        _shapes(spec.description.output),
        Counter(operation.op_type for operation in operations),
        sum(int(value.nbytes) for value in constants if getattr(value, "ndim", 0) > 1),
    )


def layers_in(program: torch.export.ExportedProgram) -> tuple[int, int]:
    """Convolutions, and linear layers, of the program that a package is made from."""
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    return sum(name.startswith("aten.conv") for name in names), sum(name.startswith("aten.linear") for name in names)


def _shapes(ports: Any) -> dict[str, tuple[int, ...]]:
    return {port.name: tuple(port.type.multiArrayType.shape) for port in ports}


@contextmanager
def _silent() -> Iterator[None]:
    """It draws progress bars, and warns of versions of torch."""
    with quiet(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
