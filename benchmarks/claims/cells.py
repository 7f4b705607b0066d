"""What is trained for each claim. The numbers below make costs equal; the tables show the costs as counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from benchmarks.claims.gates import LearnedGates, closed, to_be_learned
from benchmarks.claims.nets import Unit, bottlenecks, compconv, ghost, grouped, igc, plain, positions, stack

__all__ = ["CLAIMS", "SEEDS", "Variant"]

SEEDS = range(5)
# IGC: six units, as wide as the parameters of a plain net of 16 channels allow.
_IGC_STRIDES = (1, 1, 1, 2, 1, 1)
IGC_UNITS = ((42, 1), (25, 2), (16, 3), (6, 6), (2, 11))
# CompConv: an eighth of VGG's widths, and so of the paper's C_0 from 32 to 512.
_STRIDES = (1, 2, 1, 2, 1, 1)
C0S = (4, 16, 32, 64)
_GHOST_RATIOS = {4: 3.88, 16: 3.13}
_NARROW_GHOST = {4: (12, 24, 46), 16: (14, 26, 50)}
_NARROW = {4: (9, 18, 32), 16: (10, 19, 36), 64: (11, 23, 47)}
_GROUPS = {4: (4, (20, 32, 64)), 16: (4, (20, 40, 68)), 64: (2, (16, 32, 66))}
# GroupNet: all 3×3 read and write a power of two; gates learn for half of the steps.
_BOTTLENECKS, _BOTTLENECK_STRIDES = (32, 32, 32, 64, 64, 64, 64), (1, 1, 2, 1, 1, 1)
GROUPS, _LEARN_SHARE = 8, 0.5


@dataclass(frozen=True)
class Variant:
    """A net to be trained."""

    name: str
    build: Callable[[], nn.Sequential]
    learn: Callable[[nn.Module], LearnedGates] | None = None


def igc_variants() -> list[Variant]:
    """A plain convolution, and the strict units (L, M) of as many parameters."""
    plain_net = Variant("plain", lambda: stack((16,) * 7, _IGC_STRIDES, plain))
    return [plain_net, *(_igc(partitions, width) for partitions, width in IGC_UNITS)]


def _igc(partitions: int, width: int) -> Variant:
    channels = (partitions * width,) * 7
    return Variant(f"L{partitions}M{width}", lambda: stack(channels, _IGC_STRIDES, igc(partitions, width)))


def compconv_variants() -> list[Variant]:
    """CompConv with each C_0, and what else costs as much."""
    found = [_stacked("plain", plain)]
    found += [_stacked(f"compconv {c0}", compconv(c0)) for c0 in C0S]
    found += [_stacked(f"ghost {c0}", ghost(ratio)) for c0, ratio in _GHOST_RATIOS.items()]
    found += [_stacked(f"narrow ghost {c0}", ghost(2), widths) for c0, widths in _NARROW_GHOST.items()]
    found += [_stacked(f"narrow {c0}", plain, widths) for c0, widths in _NARROW.items()]
    found += [_stacked(f"groups {c0}", grouped(groups), widths) for c0, (groups, widths) in _GROUPS.items()]
    return found


def _stacked(name: str, unit: Unit, stages: tuple[int, int, int] = (16, 32, 64)) -> Variant:
    first, second, third = stages
    widths = (first, first, second, second, third, third, third)
    return Variant(name, lambda: stack(widths, _STRIDES, unit))


def groupnet_variants() -> list[Variant]:
    """Groups in bottlenecks: none, constant, drawn at random within the same budget, and learned."""
    return [
        _bottlenecks("dense", plain),
        _bottlenecks("grouped convolution", grouped(GROUPS)),
        _bottlenecks("constant", closed(GROUPS)),
        _bottlenecks("drawn", to_be_learned, 0.0),
        _bottlenecks("learned", to_be_learned, _LEARN_SHARE),
    ]


def _bottlenecks(name: str, unit: Unit, learn_share: float | None = None) -> Variant:
    def learn(net: nn.Module) -> LearnedGates:
        return LearnedGates(net, positions(_BOTTLENECK_STRIDES), GROUPS, learn_share or 0.0)

    return Variant(
        name,
        lambda: bottlenecks(_BOTTLENECKS, _BOTTLENECK_STRIDES, unit),
        None if learn_share is None else learn,
    )


CLAIMS: dict[str, Callable[[], list[Variant]]] = {
    "igc": igc_variants,
    "compconv": compconv_variants,
    "groupnet": groupnet_variants,
}
