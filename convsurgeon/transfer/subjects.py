"""What a plan leaves to be fitted: units in convolutions' places, and layers that read narrowed streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.families.cost import ConvShape
from convsurgeon.planning.plan import Plan
from convsurgeon.transfer.layers import as_conv

__all__ = ["Subject", "subjects"]


@dataclass(frozen=True)
class Subject:
    """One layer to fit.

    Attributes:
        name: its qualified name.
        shape: as a convolution, with the channels that it still has.
        module: it, in the converted network.
        conv: the layer with its original weights; ``module`` itself where it is not swapped.
        outputs: the original's outputs that are left [C_out']; None for all.
        reads_less: whether inputs of it are gone.
    """

    name: str
    shape: ConvShape
    module: nn.Module
    conv: Any
    outputs: Tensor | None
    reads_less: bool

    @property
    def swapped(self) -> bool:
        """Whether a unit stands in the convolution's place."""
        return self.module is not self.conv


def subjects(plan: Plan, base: nn.Module, converted: nn.Module) -> tuple[Subject, ...]:
    """Every layer to fit; ``base`` is a copy of the original without the channels that are gone."""
    swapped = {row.name for row in plan.replaced}
    reads_less = {reader.name for row in plan.narrowed for reader in row.stream.readers}
    left = {producer.name: row.channels for row in plan.narrowed for producer in row.stream.producers}
    names = dict.fromkeys((*(row.name for row in plan.replaced), *reads_less))
    return tuple(
        Subject(
            name=name,
            shape=as_conv(base.get_submodule(name))[1],
            module=converted.get_submodule(name),
            conv=(base if name in swapped else converted).get_submodule(name),
            outputs=torch.tensor(left[name]) if name in left else None,
            reads_less=name in reads_less,
        )
        for name in names
    )
