"""The examination of one network: build, size, inspect, then every method through every stage."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

import convsurgeon
from compatibility.calibrated import calibrated
from compatibility.cells import Patient, examined_cell
from compatibility.narrowing import NARROW, narrowed
from compatibility.planned import planned
from compatibility.quick_init import quick_init
from compatibility.records import Cell, NetworkRow
from compatibility.sizes import Sized, resize, sized
from compatibility.stages import LeftOut, Stages, Wrong
from compatibility.subjects import Subject
from compatibility.training import TRAINING_BATCH, graded, step
from compatibility.witness import convolutions, digest, params

__all__ = ["CHECKS", "Settings", "examine"]

# What is asked of a network once, whatever the methods, on the smallest inputs that run.
CHECKS: dict[str, Callable[..., None]] = {"calibrated": calibrated, "planned": planned}


@dataclass(frozen=True)
class Settings:
    """What is run: the methods, further ``checks`` of the network, the MACs above which inputs are reduced (further for
    the export), the limits.

    ``seconds`` of CPU time and ``gib`` of memory bound one network's whole examination.
    """

    methods: tuple[str, ...] = ("compconv", "igc", "dgconv", "spatial", "tucker", "auto", NARROW)
    most_macs: int = 20_000_000_000
    export_method: str = "auto"
    export_macs: int = 2_000_000_000
    seconds: int = 900
    gib: int = 22
    checks: tuple[str, ...] = tuple(CHECKS)


def examine(subject: Subject, settings: Settings, at: Callable[[str], None] = lambda _: None) -> NetworkRow:
    """Everything about one network; ``at`` is told each stage before it starts."""
    start = time.process_time()
    stages = Stages(at)
    row: dict[str, Any] = {"library": subject.library, "name": subject.name, "versions": versions(subject.library)}
    model = stages.run("build", lambda: _built(subject))
    size = None if model is None else stages.run("run", lambda: sized(model, subject, settings.most_macs))
    cells: list[Cell] = []
    if model is not None and size is not None:
        row |= _facts(subject, model, size)
        stages.run("inspect", lambda: _inspected(model, size))
        for name in settings.checks:
            stages.run(name, partial(_at_smallest, CHECKS[name], model, subject, size))
        if NARROW in settings.methods:
            stages.run("narrowed", lambda: _at_smallest(narrowed, model, subject, size))
        if settings.methods:
            trained = stages.run("training step", lambda: _trained(model, subject, size)) or "no training step"
            patient = Patient(subject, model, size, digest(model), trained)
        for method in settings.methods:
            export_macs = settings.export_macs if method == settings.export_method else None
            cells.append(examined_cell(patient, method, export_macs, at))
    seconds = round(time.process_time() - start, 1)
    return NetworkRow(**row, checks=stages.checks, cells=tuple(cells), seconds=seconds)


def versions(library: str) -> dict[str, str]:
    """Of convsurgeon, torch and the library."""
    return {name: version(name) for name in ("convsurgeon", "torch", library)}


def _built(subject: Subject) -> nn.Module:
    torch.manual_seed(0)
    with quick_init():
        return subject.build().eval()


def _facts(subject: Subject, model: nn.Module, size: Sized) -> dict[str, Any]:
    leaves = torch.utils._pytree.tree_leaves(size.inputs)
    shapes = [list(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return {
        "inputs": ", ".join(map(str, shapes)),
        "reduced": size.side != subject.sides[0],
        "macs": size.original.macs,
        "convolutions": len(convolutions(model)),
    }


def _inspected(model: nn.Module, size: Sized) -> None:
    found = convsurgeon.inspect(model, size.inputs)
    rows = {name for site in found.sites for name in (site.name, *site.aliases)}
    if missing := sorted(set(convolutions(model)) - rows):
        raise Wrong(f"{len(missing)} convolutions have no row, first {missing[0]}")
    if (found.total.macs, found.total.params) != (size.original.macs, params(model)):
        raise Wrong(
            f"inspect counts {found.total.macs:,} MACs and {found.total.params:,} parameters, "
            f"the witnesses {size.original.macs:,} and {params(model):,}"
        )


def _trained(model: nn.Module, subject: Subject, size: Sized) -> tuple[int, frozenset[str]]:
    """The smallest side at which the original trains, and the parameters that get a gradient there.

    Raises:
        LeftOut: the original itself does not train on such inputs.
    """
    reasons = []
    for side in sorted({size.smallest, size.side, subject.sides[0]}):
        twin = copy.deepcopy(model)
        try:
            step(twin, subject.for_training(TRAINING_BATCH, side))
        except Exception as error:
            # Some forwards are not made for training at this size, or at all, and say so in any words.
            reasons.append(f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}")
            continue
        return side, graded(twin)
    raise LeftOut(f"the original does not train on such inputs: {reasons[-1]}")


def _at_smallest(check: Callable[..., None], model: nn.Module, subject: Subject, size: Sized) -> None:
    """A check on the smallest inputs that run."""
    try:
        resize(subject, model, size.smallest)
        check(model, subject.inputs(1, size.smallest), varying=subject.varying)
    finally:
        resize(subject, model, size.side)
