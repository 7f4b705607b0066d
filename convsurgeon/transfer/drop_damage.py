"""What the loss of each residual branch hurts, measured on the original's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from convsurgeon.base.cache_file import CacheFile
from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families.regression.samples import HELD_EVERY, Sample, Sampler, Samples
from convsurgeon.planning.plan_blocks import PlanBlock
from convsurgeon.surgery.drop import left_out
from convsurgeon.transfer.at_outputs import AtOutputs
from convsurgeon.transfer.calibration import Calibration, first_images
from convsurgeon.transfer.capture import evaluating
from convsurgeon.transfer.damage_file import data_hash, weights_hash
from convsurgeon.transfer.restore import restore
from convsurgeon.transfer.stream_damage import StreamSettings
from convsurgeon.transfer.traffic import (
    FEWEST_HELD_IMAGES,
    Traffic,
    count_traffic,
    groups_within,
    joined,
    sample_targets,
)

__all__ = ["measure_drops"]

VERSION = 1
# Inputs that are fitted on: all of their positions count.
FITTED_ON = 128


def measure_drops(
    original: nn.Module,
    rows: Sequence[PlanBlock],
    calibration: Iterable[Any] | Calibration,
    *,
    fingerprint: str = "",
    at_outputs: bool = True,
    settings: StreamSettings | None = None,
    progress: Progress | None = None,
) -> list[float | None]:
    """For each row the relative error of the network's outputs without its branch alone, once what stands in for that
    is fitted.

    Unless ``at_outputs``, or where these can't be compared, it is the error of what the branch gave. None where the
    inputs are too few to tell.
    Seed and directory are the settings'; what the directory holds is not measured again. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none.
        ModelRunError: the model fails on the calibration inputs.
    """
    settings, tell = settings or StreamSettings(), progress or silent
    reference, data = duplicate(original), Calibration.of(calibration)
    with evaluating(reference):
        outputs = AtOutputs.held_out(reference, data)
        told = outputs if at_outputs and outputs.comparable else None
        made_of = (fingerprint, weights_hash(reference), data_hash(data.fitting(reference)), told.kind if told else "")
        cache = CacheFile(settings.directory, "drops", (str(VERSION), *made_of, str(settings.seed)), float)
        if missing := [row for row in rows if _key(row) not in cache.entries.get(row.block.name, {})]:
            for done, (row, found) in enumerate(_measured(reference, data, missing, told, settings)):
                tell("measuring branches", done, len(missing), row.block.name)
                if found is not None:
                    cache.add(row.block.name, {_key(row): found})
            tell("measuring branches", len(missing), len(missing), "")
    return [cache.entries.get(row.block.name, {}).get(_key(row)) for row in rows]


def _measured(
    reference: nn.Module,
    data: Calibration,
    rows: Sequence[PlanBlock],
    at_outputs: AtOutputs | None,
    settings: StreamSettings,
) -> Iterator[tuple[PlanBlock, float | None]]:
    """Each row and what it hurts; what branches give is sampled for as many at once as memory allows."""

    def inputs() -> Iterator[Inputs]:
        return first_images(data.fitting(reference), FITTED_ON)

    traffic = count_traffic(reference, {row.block.parts[-1] for row in rows}, inputs())
    sizes = [traffic[row.block.parts[-1]].sampled_bytes(row.block.channels) for row in rows]
    for group in groups_within(sizes, settings.memory_bytes):
        samplers = {row.block.parts[-1]: _sampler(row, traffic, settings.seed) for row in rows[group]}
        targets = sample_targets(reference, samplers, inputs())
        for row in rows[group]:
            name = row.block.parts[-1]
            enough = traffic[name].images // HELD_EVERY >= FEWEST_HELD_IMAGES
            yield row, _damage(reference, row, inputs, targets[name], at_outputs) if enough else None


def _sampler(row: PlanBlock, traffic: Mapping[str, Traffic], seed: int) -> Sampler:
    seen = traffic[row.block.parts[-1]]
    return Sampler(seen.images, seen.positions, row.block.channels, seed, held_out=True)


def _damage(
    reference: nn.Module,
    row: PlanBlock,
    inputs: Callable[[], Iterator[Inputs]],
    targets: list[list[Sample]],
    at_outputs: AtOutputs | None,
) -> float | None:
    name, left = row.block.parts[-1], row.left({})
    network = duplicate(reference, left_out(reference, row.block, left))
    with evaluating(network):
        samples = Samples(lambda: joined(network, name, left, inputs(), targets))
        lost = restore(network.get_submodule(name), samples).error
        found = None if at_outputs is None else at_outputs.of(network)
    return lost if found is None else found


def _key(row: PlanBlock) -> str:
    return " ".join((row.restored_by, *row.block.parts))
