"""What forward hooks see of a model's convolutions while one forward runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.utils.hooks import RemovableHandle

from convsurgeon.base.observe import After, observe
from convsurgeon.survey.calls import Called, Calls
from convsurgeon.survey.cuttable import CUTTABLE
from convsurgeon.survey.reads import OutsideReads

__all__ = ["ConvCalls", "ConvWatch"]


@dataclass
class ConvCalls:
    """What the hooks saw of one convolution.

    Attributes:
        order: its place in execution.
        calls: how often it ran.
        positions: batch × height × width of what it wrote (a transposed one: read), summed over the calls.
        input_size: (H, W) of the first map that it read; ``one_size``: all maps that it read had this size.
        output_size: (H, W) of the smallest map that it wrote.
        batched: every output had a batch axis.
        alone: no call gave it more than its input.
        read: the forward reads its parameters past its own calls.
    """

    order: int
    calls: int = 0
    positions: int = 0
    input_size: tuple[int, ...] = ()
    output_size: tuple[int, ...] = ()
    one_size: bool = True
    batched: bool = True
    alone: bool = True
    read: bool = False


class ConvWatch:
    """Forward hooks on the convolutions of the copy that runs."""

    def __init__(self, paths: Sequence[tuple[str, ...]]) -> None:
        self.paths = paths
        self.seen: dict[str, ConvCalls] = {}
        self.calls = Calls()
        self.reads = OutsideReads()
        self._handles: list[RemovableHandle] = []

    def attach(self, copy: nn.Module) -> None:
        """Start anew on this copy."""
        self.seen.clear()
        modules = {names[0]: copy.get_submodule(names[0]) for names in self.paths}
        self.calls.attach(copy)
        cuttable = {name: one for name, one in copy.named_modules() if isinstance(one, CUTTABLE)}
        self._handles = self.reads.attach(modules | cuttable)
        self._handles += observe(after=[(module, self._recorder(name, module)) for name, module in modules.items()])

    def detach(self) -> Mapping[str, Called]:
        """What was called. A trace, which calls modules too where a forward stored their ``__call__``, adds nothing."""
        for handle in self._handles:
            handle.remove()
        return self.calls.detach()

    def _recorder(self, name: str, module: Any) -> After:
        # A transposed convolution's work is done per position that it reads.
        axes, reads = len(module.kernel_size), isinstance(module, _ConvTransposeNd)

        def record(args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> None:
            given = (*args, *kwargs.values())
            calls = self.seen.setdefault(name, ConvCalls(order=len(self.seen)))
            calls.calls += 1
            worked = given[0] if reads else output
            calls.positions += worked.numel() // worked.shape[-axes - 1]
            written = tuple(output.shape[-axes:])
            calls.output_size = tuple(map(min, calls.output_size or written, written))
            calls.batched = calls.batched and output.dim() == axes + 2
            calls.alone = calls.alone and all(value is None for value in given[1:])
            read = tuple(given[0].shape[-axes:])
            calls.input_size = calls.input_size or read
            calls.one_size = calls.one_size and read == calls.input_size

        return record
