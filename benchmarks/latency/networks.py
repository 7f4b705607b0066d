"""The networks, and what becomes of each: one of our methods, or channel pruning at the same MACs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision import models

import convsurgeon
from convsurgeon.base.inputs import as_inputs
from convsurgeon.families import parse_method
from convsurgeon.planning.make import make_plan
from convsurgeon.planning.options import candidates
from convsurgeon.planning.problem import pose
from convsurgeon.surgery.operate import operate

__all__ = ["METHODS", "NETS", "Net", "converted", "macs", "pruned"]

METHODS = {
    "compconv128": "CompConv128",
    "igc-b16": "IGC, mid width free, whole blocks of 16 channels",
    "dgconv": "DGConv, hardened",
    "spatial": "Spatial",
    "tucker": "Tucker",
    "auto": "auto",
}
# Bisection ends when the channel ratio is known this well.
RATIO_STEP = 2e-3


@dataclass(frozen=True)
class Net:
    """A network with random weights, which time does not depend on, and the size of one image."""

    build: Callable[[], nn.Module]
    size: int

    def image(self, batch: int = 1) -> Tensor:
        """[batch, 3, size, size]."""
        return torch.rand(batch, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))


def _backbone() -> nn.Module:
    detector = models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    body: nn.Module = detector.backbone
    return body


NETS = {
    "resnet18": Net(models.resnet18, 224),
    "resnet50": Net(models.resnet50, 224),
    "vgg16_bn": Net(models.vgg16_bn, 224),
    "fasterrcnn_resnet50_fpn backbone": Net(_backbone, 416),
}


def macs(model: nn.Module, net: Net) -> int:
    """Of one image."""
    return convsurgeon.count(model, net.image()).macs


def converted(model: nn.Module, net: Net, method: str, share: float) -> nn.Module:
    """The network after surgery that keeps ``share`` of the MACs, or the least that the method reaches."""
    found = convsurgeon.inspect(model, net.image())
    choices = candidates(found.sites, parse_method(method).under_target(), convsurgeon.Rules())
    least = found.total.macs - sum(
        c.site.cost.macs - min(option.cost.macs for option in c.options) for c in choices if c.options
    )
    recipe = convsurgeon.Recipe(method=method, target=f"macs={max(int(share * found.total.macs), least)}")
    plan = make_plan(pose(found, recipe))
    return operate(model, plan).eval()


def pruned(model: nn.Module, net: Net, limit: int) -> nn.Module:
    """Torch-Pruning: one ratio of channels everywhere, by magnitude, the widest network within ``limit`` MACs.

    Channels are not rounded, which would miss the MACs by several points; the classifier and a pyramid's outputs stay.
    """
    low, high, best = 0.0, 1.0, None
    while high - low > RATIO_STEP or best is None:
        ratio = (low + high) / 2
        candidate = _with_fewer_channels(model, net, ratio)
        if macs(candidate, net) <= limit:
            high, best = ratio, candidate
        else:
            low = ratio
        if low > 1 - RATIO_STEP:
            raise convsurgeon.UsageError(f"no channel ratio keeps at most {limit:,} MACs")
    return best


def _with_fewer_channels(model: nn.Module, net: Net, ratio: float) -> nn.Module:
    import torch_pruning as tp

    new = copy.deepcopy(model)
    kept = [m for name, m in new.named_modules() if isinstance(m, nn.Linear) and m.out_features == 1000]
    kept += [m for name, m in new.named_modules() if "fpn.layer_blocks" in name and isinstance(m, nn.Conv2d)]
    tp.pruner.BasePruner(
        new,
        net.image(),
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        ignored_layers=kept,
        output_transform=lambda output: sum(level.sum() for level in as_inputs({"o": output}).tensors()),
    ).step()
    return new.eval()
