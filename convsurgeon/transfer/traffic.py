"""What the original model gives at each site: counted in one pass, sampled in another."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count

from torch import Tensor, nn

from convsurgeon.base.errors import ModelRunError
from convsurgeon.base.inputs import Inputs
from convsurgeon.families.cost import ConvShape
from convsurgeon.families.regression.patches import output_size
from convsurgeon.families.regression.samples import HELD_EVERY, HELD_ROWS, Sample, Sampler, sample_cap
from convsurgeon.transfer.calibration import inputs_for
from convsurgeon.transfer.capture import site_calls, watch
from convsurgeon.transfer.settled import Settled

__all__ = ["Supply", "Traffic", "count_traffic", "groups_within", "joined", "sample_targets"]

# On fewer, what a candidate loses is chance.
FEWEST_HELD = 128
FEWEST_HELD_IMAGES = 2


@dataclass
class Traffic:
    """How much of one pass over the data reaches a module: its calls in each batch, images and output positions.

    ``rank`` is its place in the order in which the modules first run. ``held`` of the positions are on the images that
    are held out of fits; ``input_bytes`` is what all of the site's input maps would take. ``finite``: no output was NaN
    or infinite.
    """

    calls: list[int] = field(default_factory=list)
    rank: float = math.inf
    images: int = 0
    positions: int = 0
    held: int = 0
    outputs: int = 0
    input_bytes: int = 0
    finite: bool = True

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count one call."""
        self.finite &= bool(y.isfinite().all())
        self.input_bytes += x.nbytes
        self.calls[-1] += 1
        each = y.numel() // max(1, len(y) * y.shape[1])
        self.held += each * ((self.images + len(y)) // HELD_EVERY - self.images // HELD_EVERY)
        self.images += len(y)
        self.positions += each * len(y)
        self.outputs = y.shape[1]

    @property
    def enough(self) -> bool:
        """Whether what is held out can tell good candidates from bad ones."""
        drawn = self.held * min(1.0, HELD_ROWS * HELD_EVERY / max(1, self.positions))
        return drawn >= FEWEST_HELD and self.images // HELD_EVERY >= FEWEST_HELD_IMAGES

    def share_needed(self) -> Fraction | None:
        """How many times as many inputs would make `enough` true; None where no input reaches the site."""
        if self.positions == 0:
            return None
        held = max(FEWEST_HELD_IMAGES, math.ceil(Fraction(FEWEST_HELD * self.images, self.positions)))
        return Fraction(HELD_EVERY * held, self.images)

    def sampled_bytes(self, unknowns: int) -> int:
        """Memory for this site's sampled outputs, roughly."""
        return 4 * self.outputs * min(self.positions, sample_cap(unknowns) + HELD_ROWS)


@dataclass(frozen=True)
class Supply:
    """What of the calibration inputs reaches each site; ``inputs`` of them are there to fit on."""

    sites: Mapping[str, Traffic]
    inputs: int

    def enough(self, name: str) -> bool:
        """Whether the damage of a site's candidates can be told from these inputs."""
        return self.sites[name].enough

    def needed(self, name: str) -> int | None:
        """Inputs, held back ones included, with which it can be told; None where no input reaches the site."""
        share = self.sites[name].share_needed()
        return None if share is None else inputs_for(math.ceil(share * self.inputs))


def count_traffic(model: nn.Module, names: Iterable[str], batches: Iterable[Inputs]) -> dict[str, Traffic]:
    """One pass that only counts. Sites that never run stay at zero.

    Raises:
        ModelRunError: a module gives NaN or infinity; the first of them is named.
    """
    traffic = {name: Traffic() for name in names}
    ranks = count()

    def counter(seen: Traffic) -> Callable[[Tensor, Tensor], None]:
        def add(x: Tensor, y: Tensor) -> None:
            if not seen.images:
                seen.rank = next(ranks)
            seen.add(x, y)

        return add

    for inputs in batches:
        for seen in traffic.values():
            seen.calls.append(0)
        watch(model, {name: counter(seen) for name, seen in traffic.items()}, inputs)
    if broken := [name for name, seen in traffic.items() if not seen.finite]:
        first = min(broken, key=lambda name: traffic[name].rank)
        raise ModelRunError(
            f"'{first}' gives NaN or infinity on the calibration inputs, so that nothing can be fitted; its weights or "
            "the inputs are too large. Prepare the inputs as the model was trained, or take weights of an earlier step."
        )
    return traffic


def sample_targets(
    model: nn.Module, samplers: dict[str, Sampler], batches: Iterable[Inputs]
) -> dict[str, list[list[Sample]]]:
    """For each site and batch its calls' samples; in place of the input map, ``x`` has the output's shape only."""
    found: dict[str, list[list[Sample]]] = defaultdict(list)
    for inputs in batches:
        for name in samplers:
            found[name].append([])
        watch(model, {name: _sampling(samplers[name], found[name][-1]) for name in samplers}, inputs)
    return found


def joined(
    model: nn.Module,
    name: str,
    shape: ConvShape,
    batches: Iterable[Inputs],
    targets: Iterable[Sequence[Sample]],
    settled: Settled | None = None,
) -> Iterator[Sample]:
    """What a layer of another model reads on the same batches, joined with the targets that were sampled there."""
    for number, (inputs, calls) in enumerate(zip(batches, targets, strict=False)):
        ahead = nullcontext() if settled is None else settled.ahead_of(model.get_submodule(name), model, number)
        with ahead:
            maps = site_calls(model, name, inputs, len(calls))
        for x, sample in zip(maps, calls, strict=False):
            # Where the data decides the shapes (a detector's proposals), the two models may part ways.
            if (len(x), *output_size(x, shape)) == (len(sample.x), *sample.x.shape[2:]):
                yield replace(sample, x=x)


def _sampling(sampler: Sampler, into: list[Sample]) -> Callable[[Tensor, Tensor], None]:
    def read(_x: Tensor, y: Tensor) -> None:
        into.append(sampler.sample(y.new_empty(y.shape, device="meta"), y))

    return read


def groups_within(sizes: Sequence[int], budget: int) -> list[slice]:
    """Consecutive runs whose sizes sum to at most ``budget`` (a single larger one stands alone)."""
    groups: list[slice] = []
    start = used = 0
    for i, size in enumerate(sizes):
        if i > start and used + size > budget:
            groups.append(slice(start, i))
            start, used = i, 0
        used += size
    return [*groups, slice(start, len(sizes))] if sizes else []
