"""An OpenVINO model in int8, by NNCF."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Collection, Iterable
from contextlib import redirect_stdout
from typing import Any

from convsurgeon.base.errors import ModelRunError, first_line
from convsurgeon.base.inputs import Inputs
from convsurgeon.runtimes.openvino_package import unreported
from convsurgeon.runtimes.quiet import quiet
from convsurgeon.runtimes.runtime import missing

__all__ = ["nncf_missing", "quantised_openvino"]

_WITH_WEIGHTS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul")
_SCOPE = re.compile(r"^__module\.(?P<layer>.+?)/")


def nncf_missing() -> str | None:
    """Which package is missing; None if all are there."""
    return missing(("openvino", "nncf"), "int8")


def quantised_openvino(model: Any, batches: Iterable[Inputs], in_float: Collection[str]) -> Any:
    """An ``openvino.Model`` with FakeQuantize operations, which OpenVINO's plugins run in int8.

    Args:
        model: the model in float32.
        batches: what ranges are measured on.
        in_float: layers, by the names of the modules that they were traced from, which stay as they are.

    Raises:
        ModelRunError: NNCF can't quantise the model.
    """
    images = [[tensor.detach().cpu().numpy() for tensor in inputs.tensors()] for inputs in batches]
    kept = [op.get_friendly_name() for op in model.get_ordered_ops() if _layer(op) in in_float]
    try:
        # It draws progress bars on standard output, whatever stands there.
        with unreported(), redirect_stdout(io.StringIO()), quiet():
            import nncf

            nncf.set_log_level(logging.ERROR)
            return nncf.quantize(
                model,
                nncf.Dataset(images),
                subset_size=len(images),
                # Activations of both signs get a zero point of their own.
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
                advanced_parameters=_parameters(nncf),
            )
    # NNCF raises whatever its parts do.
    except Exception as error:
        raise ModelRunError(f"NNCF can't quantise the model: {first_line(error)}.") from error


def _parameters(nncf: Any) -> Any:
    """Ranges from the least value to the largest, weights in all of their eight bits, biases as they are.

    Seven bits are for processors without dot products of bytes. NNCF's own correction of biases makes chains of
    convolutions worse (docs/int8.md); what is to be corrected has been before.
    """
    from nncf.quantization.advanced_parameters import OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.DISABLE,
        disable_bias_correction=True,
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
    )


def _layer(operation: Any) -> str | None:
    """The module that an operation with weights was traced from, or that an ONNX graph has its weights from."""
    if operation.get_type_name() not in _WITH_WEIGHTS:
        return None
    if (found := _SCOPE.match(operation.get_friendly_name())) is not None:
        return found["layer"]
    return _weight_name(operation).removesuffix(".weight")


def _weight_name(operation: Any) -> str:
    """What an ONNX graph calls the weights, behind whatever reshapes them."""
    source = operation.input_value(1).get_node()
    while source.get_input_size():
        source = source.input_value(0).get_node()
    return str(source.get_friendly_name())
