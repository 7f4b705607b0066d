"""The networks of the int8 benchmark: originals, what became of them, and images to measure ranges and judge on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor, nn

import convsurgeon
from benchmarks.accuracy.data import Split, load_test, load_train
from benchmarks.accuracy.run import Sample
from benchmarks.accuracy.train import load_trained
from benchmarks.frontier.networks import RIVAL, SEED, Point, folder_of, kept, made
from benchmarks.int8.row import ORIGINAL, Which
from benchmarks.real.cells import network_folder
from benchmarks.real.methods import METHODS as REAL_METHODS
from benchmarks.real.methods import Rival
from benchmarks.real.row import Row as RealRow
from benchmarks.real.subject import Case
from benchmarks.real.subjects import SUBJECTS
from benchmarks.recovery.run import FROM_ANEW, trained
from convsurgeon.base.files import write_whole

__all__ = ["METHODS", "Network", "Subject", "trained_by_others", "trained_here"]

METHODS = ("auto", RIVAL)
TARGETS = (50, 25)
MEASURED, BATCH = 256, 64


@dataclass(frozen=True)
class Network:
    """One network of a subject; ``make`` returns it in eval mode."""

    which: Which
    make: Callable[[], nn.Module]


@dataclass(frozen=True)
class Subject:
    """An original and what was made of it, batches to measure ranges on, and batches to judge on, maybe labelled."""

    name: str
    networks: Sequence[Network]
    calibration: Sequence[Tensor]
    judged: Sequence[Tensor]
    labels: Tensor | None = None

    @property
    def original(self) -> nn.Module:
        """What all are compared with."""
        return self.networks[0].make()


def trained_here(net: str, methods: Sequence[str], cache: Path, data: Path, steps: int) -> Subject:
    """A network of benchmarks.accuracy: what each method makes of it at each target, as it is and after training."""
    train, test = load_train(data), load_test(data)
    original, sample = load_trained(net, SEED, cache), Sample.of(train, SEED)
    networks = [Network(Which(method=ORIGINAL, target=100, steps=0), lambda: original)]
    for point in (Point(method, target) for method in methods for target in TARGETS):
        maker = _Maker(net, point, original, sample, train, folder_of(cache, net, point))
        for count in dict.fromkeys((0, steps)):
            which = Which(method=point.method, target=point.percent, steps=count)
            networks.append(Network(which, partial(maker.after, count)))
    measured = sample.images[:MEASURED].split(BATCH)
    return Subject(net, networks, measured, test.images.split(250), test.labels)


@dataclass(frozen=True)
class _Maker:
    """What makes a point's network, or finds it in its folder."""

    net: str
    point: Point
    original: nn.Module
    sample: Sample
    train: Split
    folder: Path

    def after(self, steps: int) -> nn.Module:
        """The network after so many steps of training; 0 for none."""
        if not (self.folder / ("pruned.safetensors" if self.point.method == RIVAL else "network")).exists():
            made(self.folder, self.point, self.original, self.sample, SEED)
        network = kept(self.folder, self.point, self.net)
        file = self.folder / f"trained-{steps}.safetensors"
        if steps and not file.is_file():
            new = trained(self.original, network, self.train, SEED, steps, anew=self.point.method in FROM_ANEW)
            state = {name: tensor.contiguous() for name, tensor in new.state_dict().items()}
            write_whole(file, save(state))
        if steps:
            network.load_state_dict(load_file(file))
        return network


def trained_by_others(name: str, cache: Path, rows: Sequence[RealRow]) -> Subject:
    """A classifier of benchmarks.real, those of its conversions whose networks are in that benchmark's cache, and what
    Torch-Pruning makes of it, which is made again."""
    case = SUBJECTS[name].build()
    networks = [Network(Which(method=ORIGINAL, target=100, steps=0), lambda: case.model)]
    for row in rows:
        if row.subject == name and (make := _made_by_others(row, case, cache)) is not None:
            networks.append(Network(Which(method=row.method, target=round(100 * row.target), steps=0), make))
    return Subject(name, networks, case.calibration, case.judging)


def _made_by_others(row: RealRow, case: Case, cache: Path) -> Callable[[], nn.Module] | None:
    method = REAL_METHODS.get(row.method)
    if row.method == RIVAL and isinstance(method, Rival) and not row.failed:
        return lambda: method.make(case, row.target).eval()
    folder = network_folder(cache, row.subject, row.plan)
    return partial(convsurgeon.load, folder, model=case.model) if row.plan and folder.is_dir() else None
