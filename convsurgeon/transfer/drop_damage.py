"""What the loss of each residual branch hurts, measured on the original's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from convsurgeon.base.cache_file import CacheFile
from convsurgeon.base.copies import duplicate
from convsurgeon.base.inputs import Inputs
from convsurgeon.base.progress import Progress, silent
from convsurgeon.families.regression.samples import HELD_EVERY, Sample, Sampler, Samples
from convsurgeon.surgery.drop import left_out, restoring_shape
from convsurgeon.survey.streams import Block
from convsurgeon.transfer.at_outputs import AtOutputs
from convsurgeon.transfer.calibration import Calibration, first_images, held_out
from convsurgeon.transfer.capture import evaluating
from convsurgeon.transfer.damage_file import data_hash, weights_hash
from convsurgeon.transfer.restore import restore
from convsurgeon.transfer.stream_damage import IMAGES, StreamSettings
from convsurgeon.transfer.traffic import FEWEST_HELD_IMAGES, count_traffic, groups_within, joined, sample_targets

__all__ = ["measure_drops"]

VERSION = 1
# On which scales and shifts are fitted: two numbers a channel.
FITTED_ON = 128


def measure_drops(
    original: nn.Module,
    blocks: Sequence[Block],
    calibration: Iterable[Any] | Calibration,
    *,
    fingerprint: str = "",
    settings: StreamSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, float | None]:
    """The relative error of the network's outputs without each branch alone, once scales and shifts make up for it.

    Where outputs can't be compared it is the error of what the branch gave. None where the inputs are too few to tell.
    Seed and directory are the settings'; what the directory holds is not measured again. The original is not touched.

    Raises:
        UsageError: calibration inputs of the wrong kind, or none.
        ModelRunError: the model fails on the calibration inputs.
    """
    settings, tell = settings or StreamSettings(), progress or silent
    reference, data = duplicate(original), Calibration.of(calibration)
    key = (str(VERSION), fingerprint, weights_hash(reference), data_hash(data.fitting(reference)), str(settings.seed))
    cache = CacheFile(settings.directory, "drops", key, float)
    known = {block.name: cache.entries.get(block.name, {}).get(_key(block)) for block in blocks}
    missing = [block for block in blocks if known[block.name] is None]
    if missing:
        with evaluating(reference):
            for done, (block, found) in enumerate(_measured(reference, data, missing, settings)):
                tell("measuring branches", done, len(missing), block.name)
                known[block.name] = found
                if found is not None:
                    cache.add(block.name, {_key(block): found})
        tell("measuring branches", len(missing), len(missing), "")
    return known


def _measured(
    reference: nn.Module, data: Calibration, blocks: Sequence[Block], settings: StreamSettings
) -> Iterator[tuple[Block, float | None]]:
    """Each branch and what its loss hurts; what they give is sampled for as many at once as memory allows."""

    def inputs() -> Iterator[Inputs]:
        return first_images(data.fitting(reference), FITTED_ON)

    at_outputs = AtOutputs(reference, first_images(held_out(data.fitting(reference)), IMAGES))
    traffic = count_traffic(reference, (block.parts[-1] for block in blocks), inputs())
    sizes = [traffic[block.parts[-1]].sampled_bytes(1) for block in blocks]
    for group in groups_within(sizes, settings.memory_bytes):
        samplers = {
            name: Sampler(traffic[name].images, traffic[name].positions, 1, settings.seed, held_out=True)
            for name in (block.parts[-1] for block in blocks[group])
        }
        targets = sample_targets(reference, samplers, inputs())
        for block in blocks[group]:
            name = block.parts[-1]
            enough = traffic[name].images // HELD_EVERY >= FEWEST_HELD_IMAGES
            yield block, _damage(reference, block, inputs, targets.pop(name), at_outputs) if enough else None


def _damage(
    reference: nn.Module,
    block: Block,
    inputs: Callable[[], Iterator[Inputs]],
    targets: list[list[Sample]],
    at_outputs: AtOutputs,
) -> float | None:
    name, shape = block.parts[-1], restoring_shape(block, block.channels)
    network = duplicate(reference, left_out(reference, block, block.channels))
    with evaluating(network):
        samples = Samples(lambda: joined(network, name, shape, inputs(), targets))
        left = restore(network.get_submodule(name), samples).error
        found = at_outputs.of(network) if at_outputs.comparable else None
    return left if found is None else found


def _key(block: Block) -> str:
    return " ".join((*block.parts, str(block.channels)))
