"""The networks of the plot: made once and kept in the cache, for making takes minutes and timing a quiet machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import Split
from benchmarks.accuracy.nets import build
from benchmarks.accuracy.rivals import torch_pruning
from benchmarks.accuracy.run import MOVES, Sample, plan_for
from benchmarks.accuracy.train import top1
from benchmarks.recovery.run import FROM_ANEW, trained
from convsurgeon.base.files import write_whole
from convsurgeon.base.inputs import as_inputs
from convsurgeon.survey.counting import count
from convsurgeon.transfer.agreement import agreement

__all__ = [
    "LATENCY_BATCH",
    "METHODS",
    "RIVAL",
    "SEED",
    "Made",
    "Point",
    "folder_of",
    "keep",
    "kept",
    "made",
    "of_these_widths",
    "points",
]

RIVAL = "torch-pruning"
METHODS = {
    "auto": "auto, swaps alone",
    "auto-moves": "auto, swaps and narrowing",
    RIVAL: "Torch-Pruning, Taylor importance",
}
SHARES = (60, 40, 25, 15)
# Of the time in eager mode, planned on the machine that times them: for these the making wants a quiet machine, too.
TARGETS = (60, 40)
LATENCY_BATCH = 32
SEED = 0


@dataclass(frozen=True)
class Point:
    """A method, and the percent of MACs or, ``in_time``, of eager milliseconds that it was planned for."""

    method: str
    percent: int
    in_time: bool = False

    @property
    def target(self) -> str:
        """As the command line takes it."""
        return f"{'latency' if self.in_time else 'macs'}={self.percent}%"


@dataclass(frozen=True)
class Made:
    """What became of a point, in percent: MACs kept, images with another class, top-1 lost, and lost after training."""

    method: str
    percent: int
    in_time: bool
    macs: float
    changed: float
    lost: float
    lost_after_training: float | None = None


def points() -> Iterator[Point]:
    """Those of MACs first, which a busy machine can make."""
    for method in METHODS:
        yield from (Point(method, share) for share in SHARES)
    for method in METHODS:
        if method != RIVAL:
            yield from (Point(method, target, in_time=True) for target in TARGETS)


def folder_of(cache: Path, net: str, point: Point) -> Path:
    """Where a point of a network is kept."""
    return cache / "frontier" / f"{net}-{point.method}-{point.target.replace('=', '-').rstrip('%')}"


def converted(point: Point, model: nn.Module, sample: Sample, seed: int) -> convsurgeon.Conversion:
    """The conversion behind one of our points, without any training."""
    if point.in_time:
        plan = convsurgeon.plan(
            model,
            sample.example,
            moves=MOVES.get(point.method, "swap"),
            target=point.target,
            calibration=sample.batches(),
            latency_batch=LATENCY_BATCH,
            seed=seed,
        )
    else:
        plan = plan_for(point.method, model, point.percent / 100, sample, seed)
    return convsurgeon.apply(model, plan, sample.example, calibration=sample.batches(), seed=seed)


def made(folder: Path, point: Point, model: nn.Module, sample: Sample, seed: int) -> nn.Module:
    """The network behind a point, kept in ``folder`` before it is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    if point.method != RIVAL:
        done = converted(point, model, sample, seed)
        done.save(folder / "network", force=True)
        return done.model
    pruned = torch_pruning(model, sample.example, point.percent / 100, sample.images, sample.labels)
    state = {name: tensor.contiguous() for name, tensor in pruned.state_dict().items()}
    write_whole(folder / "pruned.safetensors", save(state))
    return pruned


def kept(folder: Path, point: Point, net: str) -> nn.Module:
    """The network that was made for a point, in eval mode."""
    if point.method != RIVAL:
        return convsurgeon.load(folder / "network", model=build(net)).eval()
    return of_these_widths(build(net), load_file(folder / "pruned.safetensors")).eval()


def of_these_widths(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """The network with the tensors' own numbers of channels; plain convolutions, norms and linear layers only."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = state[f"{name}.weight"].shape[:2]
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = state[f"{name}.weight"].shape
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = len(state[f"{name}.weight"])
        for which, tensor in {**module._parameters, **module._buffers}.items():
            if tensor is not None:
                tensor.data = torch.empty_like(state[f"{name}.{which}" if name else which])
    model.load_state_dict(state)
    return model


def keep(folder: Path, point: Point, model: nn.Module, sample: Sample, splits: tuple[Split, Split], steps: int) -> Made:
    """Make a point, judge it on the test images, train a copy if ``steps`` is not zero, and keep all of it."""
    train, test = splits
    new = made(folder, point, model, sample, seed=SEED).eval()
    before, after = top1(model, test), top1(new, test)
    close = agreement(model, new, map(as_inputs, test.images.split(500)), held_back=True)
    lost_after_training = None
    if steps and not point.in_time:
        recovered = trained(model, new, train, SEED, steps, anew=point.method in FROM_ANEW)
        lost_after_training = before - top1(recovered, test)
    example = as_inputs(sample.example)
    found = Made(
        **asdict(point),
        macs=100 * count(new, example).macs / count(model, example).macs,
        changed=100 * (1 - (close.top1 or 0.0)),
        lost=before - after,
        lost_after_training=lost_after_training,
    )
    write_whole(folder / "made.json", json.dumps(asdict(found), indent=2) + "\n")
    return found
