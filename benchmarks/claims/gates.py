"""Gates of DGConvs learned from scratch by the published objective, beside the weights and by the same optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from convsurgeon.families.cost import ConvShape
from convsurgeon.families.dgconv.spec import DGConvSpec
from convsurgeon.families.dgconv.unit import DGConv
from convsurgeon.recovery.learned_groups.complexity import complexity, regulariser

__all__ = ["LearnedGates", "closed", "hardened", "to_be_learned"]

# So that the first gradients decide; which source says how gates begin was not found.
_START = 1e-8
# Steps between two records of the groups.
_EVERY = 4


class LearnedGates:
    """The gates of a net: they learn for a ``share`` of the steps, are fixed within the budget, and rest.

    The loss is multiplied by [o/ζ]^a (Zhang et al., ICCV 2019, arXiv 1908.05867), a = −0.02 where ζ > o and 0
    elsewhere. ζ are MACs, by the ``positions`` of each layer's output; o is what ``groups`` groups in every layer cost.
    """

    def __init__(self, net: nn.Module, positions: Sequence[int], groups: int, share: float) -> None:
        self._layers = [module for module in net.modules() if isinstance(module, DGConv)]
        areas = [count * layer.weight[0, 0].numel() for count, layer in zip(positions, self._layers, strict=True)]
        self._areas, self._share = areas, share
        self.budget = sum(area * layer.weight[:, :, 0, 0].numel() // groups for area, layer in self._each())
        self.history: list[tuple[int, ...]] = []
        with torch.no_grad():
            for layer in self._layers:
                layer.latent_gates.normal_(std=_START)

    def zeta(self) -> Tensor:
        """MACs of the gated layers, differentiable."""
        return torch.stack(
            [
                area * complexity(layer.gates().double(), layer.in_channels, layer.out_channels)
                for area, layer in self._each()
            ]
        ).sum()

    def weighed(self, loss: Tensor) -> Tensor:
        """The loss times the factor of the budget."""
        return loss * regulariser(self.zeta(), self.budget).to(loss.dtype)

    def before_step(self, step: int, total: int) -> None:
        """Keep a record, and fix the gates once it is time."""
        if step == round(self._share * total):
            self._fix()
        if step % _EVERY == 0:
            self.history.append(self.groups())

    def groups(self) -> tuple[int, ...]:
        """Groups of each layer as they are now."""
        return tuple(2 ** int((layer.latent_gates < 0).sum()) for layer in self._layers)

    def _each(self) -> zip[tuple[int, DGConv]]:
        return zip(self._areas, self._layers, strict=True)

    @torch.no_grad()
    def _fix(self) -> None:
        """Close all gates, then open what the budget allows, the most wanted first."""
        gates = [
            (layer.latent_gates, k, float(value))
            for layer in self._layers
            for k, value in enumerate(layer.latent_gates)
        ]
        for latent, _, _ in gates:
            latent.fill_(-1).requires_grad_(False)
        for latent, k, _ in sorted(gates, key=lambda gate: -gate[2]):
            latent[k] = 1
            if self.zeta() > self.budget:
                latent[k] = -1


def to_be_learned(shape: ConvShape) -> nn.Module:
    """A DGConv."""
    return DGConvSpec().build(shape)


def closed(groups: int) -> Callable[[ConvShape], nn.Module]:
    """DGConvs of so many neighbouring groups, which stay as they are; their weights begin as those of all DGConvs."""

    def build(shape: ConvShape) -> nn.Module:
        conv = DGConv(shape)
        conv.latent_gates.requires_grad_(False)[: groups.bit_length() - 1] = -1
        return conv

    return build


def hardened(net: nn.Sequential) -> nn.Sequential:
    """With every DGConv in the form that saves its MACs."""
    return nn.Sequential(*(module.harden() if isinstance(module, DGConv) else module for module in net))
