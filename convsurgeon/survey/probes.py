"""One run of a convolution module's own forward: the one call of torch's convolution in it is caught and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from convsurgeon.base.generators import kept_generators
from convsurgeon.families.torch_convs import PAD_MODES

__all__ = ["ARGUMENTS", "Probe", "Unlike", "probe"]

ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_FUNCTIONS = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3}


class Unlike(Exception):
    """The module is more than padding and one convolution; says in what."""


@dataclass(frozen=True)
class Probe:
    """The map's size, the call that was caught (by `ARGUMENTS`), and what was padded ahead of it, in which mode."""

    size: tuple[int, ...]
    call: dict[str, Any]
    pads: tuple[tuple[int, int], ...]
    mode: str


class _Catch(TorchFunctionMode):
    """Answers convolutions with noise of the right shape."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.axes = axes
        self.generator = torch.Generator().manual_seed(1)
        self.calls: list[dict[str, Any]] = []
        self.answer = torch.empty(0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _FUNCTIONS.get(func) != self.axes:
            return func(*args, **(kwargs or {}))
        call = dict(zip(ARGUMENTS, args, strict=False)) | (kwargs or {})
        self.calls.append(call)
        x = call["input"]
        weightless = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in call.items()}
        shape = func(*(weightless.pop(k) for k in ARGUMENTS if k in weightless)).shape
        self.answer = torch.randn(shape, generator=self.generator).to(x)
        return self.answer.clone()


def probe(twin: Any, size: tuple[int, ...]) -> Probe:
    """Run a module, in eval mode and with numbers, on noise [1, C_in, *size].

    Raises:
        Unlike: it does anything else than padding and one convolution.
    """
    noise = torch.randn(1, twin.in_channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), kept_generators():
        x = noise.to(twin.weight)
        # Called as a function, so that nothing that hooks into calls of modules takes part.
        with _Catch(len(size)) as catch:
            found = twin.forward(x.clone())
    if len(catch.calls) != 1:
        raise Unlike(f"calls {len(catch.calls)} convolutions in its own forward")
    if not isinstance(found, Tensor) or found.shape != catch.answer.shape or not torch.equal(found, catch.answer):
        raise Unlike("computes more than a convolution in its own forward")
    pads, mode = _padding_of(x, catch.calls[0]["input"])
    return Probe(size, catch.calls[0], pads, mode)


def _padding_of(x: Tensor, read: Tensor) -> tuple[tuple[tuple[int, int], ...], str]:
    """The padding that turns ``x`` into what the convolution read."""
    x, size, wide = x.to(read.dtype), x.shape[2:], read.shape[2:]
    if read.shape[:2] == x.shape[:2] and all(w >= n for w, n in zip(wide, size, strict=True)):
        first = (read[0, 0] == x[(0,) * x.dim()]).nonzero().tolist()
        for ahead in first:
            pads = tuple((a, w - n - a) for a, w, n in zip(ahead, wide, size, strict=True))
            if any(after < 0 for _, after in pads):
                continue
            flat = [pad for ends in reversed(pads) for pad in ends]
            for mode, torchs in PAD_MODES.items():
                if _room(pads, size, mode) and torch.equal(F.pad(x, flat, mode=torchs) if any(flat) else x, read):
                    return pads, mode
    raise Unlike("does more than padding ahead of its convolution")


def _room(pads: Sequence[tuple[int, int]], size: Sequence[int], mode: str) -> bool:
    """Whether torch can pad so: reflection needs more than the padding, wrapping as much."""
    most = {"reflect": -1, "circular": 0}.get(mode)
    return most is None or all(max(ends) <= n + most for ends, n in zip(pads, size, strict=True))
