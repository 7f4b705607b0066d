"""Float32 computed in float32: GPUs round what convolutions multiply to TF32, PyTorch's default."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

__all__ = ["full_float32"]

# The settings are the process's: two comparisons at once would put each other's back.
_LOCK = threading.Lock()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Inside, nothing on a CUDA device is computed in TF32; on any other device nothing changes.

    PyTorch has old settings (``allow_tf32``) and new ones, and code inside that reads an old one fails where the two
    contradict each other. So the old one is changed where it says yes, and a new one only where that is not enough.
    """
    if device.type != "cuda":
        yield
        return
    backends: Any = torch.backends  # whose stubs lack the new settings
    cudnn, matmul = backends.cudnn, backends.cuda.matmul
    with _LOCK, ExitStack() as stack:
        if _told(torch.get_float32_matmul_precision) in ("high", "medium"):
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        for old, new in ((cudnn, (cudnn.conv, cudnn.rnn)), (matmul, (matmul,))):
            if _told(partial(getattr, old, "allow_tf32")):
                _change(stack, old, "allow_tf32", False)
            for place in new:
                if place.fp32_precision == "tf32":
                    _change(stack, place, "fp32_precision", "ieee")
        yield


def _told(read: Callable[[], Any]) -> Any:
    """An old setting; None where the caller chose in the new ones what it can't tell."""
    try:
        return read()
    except RuntimeError:
        return None


def _change(stack: ExitStack, owner: Any, name: str, value: object) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)
