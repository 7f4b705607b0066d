"""What a plan leaves to be fitted: units, layers that read narrowed streams, and what is left of dropped branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convsurgeon.families.cost import ConvShape
from convsurgeon.planning.plan import Plan
from convsurgeon.planning.plan_blocks import PlanBlock, dropped_layers
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
        restores: whether it stands in for a dropped branch, under the name of the branch's last part.
    """

    name: str
    shape: ConvShape
    module: nn.Module
    conv: Any
    outputs: Tensor | None
    reads_less: bool
    restores: bool = False

    @property
    def swapped(self) -> bool:
        """Whether a unit stands in the convolution's place."""
        return self.module is not self.conv


def subjects(plan: Plan, base: nn.Module, converted: nn.Module) -> tuple[Subject, ...]:
    """Every layer to fit; ``base`` is a copy of the original without the channels that are gone."""
    swapped = {row.name for row in plan.replaced}
    reads_less = {reader.name for row in plan.narrowed for reader in row.stream.readers}
    gone = dropped_layers(plan.blocks)
    left = {producer.name: row.channels for row in plan.narrowed for producer in row.stream.producers}
    names = dict.fromkeys((*(row.name for row in plan.replaced), *reads_less))
    layers = (
        Subject(
            name=name,
            shape=as_conv(base.get_submodule(name))[1],
            module=converted.get_submodule(name),
            conv=(base if name in swapped else converted).get_submodule(name),
            outputs=torch.tensor(left[name]) if name in left else None,
            reads_less=name in reads_less,
        )
        for name in names
        if name not in gone
    )
    return *layers, *(_restoring(row, plan, converted) for row in plan.dropped)


def _restoring(row: PlanBlock, plan: Plan, converted: nn.Module) -> Subject:
    """What is left of a branch, on the channels that the stream it is added to still has."""
    name = row.block.parts[-1]
    unit = converted.get_submodule(name)
    kept = next((one.channels for one in plan.narrowed if one.stream.name == row.block.stream), None)
    outputs = None if kept is None else torch.tensor(kept)
    return Subject(name, as_conv(unit)[1], unit, unit, outputs, reads_less=False, restores=True)
