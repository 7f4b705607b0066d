"""A few convolutions in ONNX Runtime at once: by the TorchScript exporter, which takes a tenth of a second for them.

The other exporter takes seconds, which is too long for dozens of candidates; what is finally exported goes through
that one and is compared.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.inputs import Inputs
from convsurgeon.runtimes.onnx_conversion import feed_for, quiet_exporters, session_for

__all__ = ["in_onnx_runtime"]


def in_onnx_runtime(module: nn.Module, x: Tensor, threads: int) -> Callable[[], object]:
    """What runs the module once on ``x``. Whatever the exporter raises comes out of it."""
    file: Any = io.BytesIO()
    with quiet_exporters(), torch.no_grad():
        torch.onnx.export(_between_layers(module) if x.dim() == 4 else module, (x,), file, dynamo=False)
    session = session_for(file.getvalue(), threads=threads)
    feed = feed_for(session, Inputs((x,)))
    return lambda: session.run(None, feed)


def _between_layers(module: nn.Module) -> nn.Module:
    """In a network channels arrive and leave in the runtime's blocks; pooling over one pixel sees to that here."""
    return nn.Sequential(nn.MaxPool2d(1, 1), module, nn.MaxPool2d(1, 1)).eval()
